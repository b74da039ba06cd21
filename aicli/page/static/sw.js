// The service worker: the page works without a network after the first visit.
//
// What is small (the page, its styles and scripts) is asked of the server first, and kept all at once for when it does not
// answer: so no two versions mix, and nothing stands in the way of another program at this address. What is large
// (models, LiteRT.js) is asked for with its checksum in the address: once, when a page needs it, and then taken from here.

const VERSION = null;
const SMALL = null;
const LARGE = null;

const scope = self.registration.scope;
const OURS = `aicli ${scope} `;
const CACHE = OURS + VERSION;

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(scope)) return;
  const named = request.url.slice(scope.length);
  const [path] = named.split(/[?#]/);
  const address = path === "" || path === "index.html" ? "./" : path;
  if (LARGE.includes(named)) event.respondWith(large(event));
  else if (SMALL.includes(address)) event.respondWith(newest(request, address));
});

async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(SMALL.map((address) => new Request(new URL(address, scope), { cache: "no-cache" })));
  await takeOver(cache);
  await self.skipWaiting();
}

/** Large files of an earlier version that are the same in this one. */
async function takeOver(cache) {
  const wanted = new Set(LARGE.map((address) => new URL(address, scope).href));
  for (const name of await earlier()) {
    const old = await caches.open(name);
    for (const request of await old.keys()) {
      if (wanted.has(request.url)) await cache.put(request.url, await old.match(request));
    }
  }
}

async function activate() {
  for (const name of await earlier()) await caches.delete(name);
  await self.clients.claim();
}

async function earlier() {
  return (await caches.keys()).filter((name) => name.startsWith(OURS) && name !== CACHE);
}

async function newest(request, address) {
  try {
    return await fetch(request, { cache: "no-cache" });
  } catch (error) {
    const found = await (await caches.open(CACHE)).match(new URL(address, scope).href);
    if (!found) throw error;
    return found;
  }
}

async function large(event) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(event.request.url);
  if (found) return found;
  const response = await fetch(event.request);
  // A full disk keeps it from being kept, not from being used.
  if (response.ok) event.waitUntil(cache.put(event.request.url, response.clone()).catch(() => {}));
  return response;
}
