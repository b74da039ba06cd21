// A headless Chromium (Debian's, with its chromedriver) that runs scripts of a page, and a web server for a folder.
import { spawn } from "node:child_process";
import { accessSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, extname, join } from "node:path";

const onPath = (name) =>
  (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)).find((path) => {
    try {
      accessSync(path);
      return true;
    } catch {
      return false;
    }
  });
const [CHROMIUM, DRIVER] = [onPath("chromium"), onPath("chromedriver")];
export const hasChromium = (CHROMIUM && DRIVER) !== undefined || process.env.AICLI_REQUIRE_BROWSER === "1";

const FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export async function startChromium() {
  const driver = spawn(DRIVER, ["--port=0"], { stdio: ["ignore", "pipe", "inherit"] });
  const profile = mkdtempSync(join(tmpdir(), "aicli-chromium-"));
  const port = await new Promise((found, failed) => {
    let said = "";
    driver.on("error", failed).on("exit", () => failed(new Error(`chromedriver ended: ${said}`)));
    driver.stdout.on("data", (chunk) => {
      said += chunk;
      const [, number] = /started successfully on port (\d+)/.exec(said) ?? [];
      if (number) found(number);
    });
  });
  const ask = async (path, body, method = "POST") => {
    const response = await fetch(`http://127.0.0.1:${port}/session${path}`, { method, ...(body && { body: JSON.stringify(body) }) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(value.message);
    return value;
  };
  const chrome = { binary: CHROMIUM, args: [...FLAGS, `--user-data-dir=${profile}`] };
  const { sessionId } = await ask("", { capabilities: { alwaysMatch: { browserName: "chrome", "goog:chromeOptions": chrome } } });
  await ask(`/${sessionId}/timeouts`, { script: 60000 });
  return {
    open: (url) => ask(`/${sessionId}/url`, { url }),
    /** What the body of an asynchronous function of the page answers. */
    run: (body) => ask(`/${sessionId}/execute/async`, { script: `const done = arguments[0]; (async () => { ${body} })().then(done, (error) => done(String(error)));`, args: [] }),
    async close() {
      await ask(`/${sessionId}`, undefined, "DELETE");
      driver.removeAllListeners("exit").kill();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

const KINDS = { ".html": "text/html", ".js": "text/javascript", ".json": "application/json", ".wasm": "application/wasm" };
const POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self'";

/** Serves a folder, with a strict policy but for pages called snippet; its address, and the addresses that were asked for. */
export async function serveFolder(folder) {
  const asked = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    asked.push(pathname);
    try {
      const body = readFileSync(join(folder, pathname === "/" ? "index.html" : pathname));
      response.writeHead(200, { "Content-Type": KINDS[extname(pathname) || ".html"] ?? "application/octet-stream", ...(pathname.startsWith("/snippet") ? {} : { "Content-Security-Policy": POLICY }) });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { url: `http://127.0.0.1:${server.address().port}/`, asked, close: () => server.closeAllConnections() ?? server.close() };
}
