#!/usr/bin/env node
/** The command `aicli-vision`: the Python tool's records and exit codes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./command.js";
import { AicliError } from "../errors.js";
import { reason } from "./reason.js";
import { visible } from "./records.js";

const HELP = `Usage: aicli-vision classify [OPTIONS] IMAGE...
       aicli-vision detect-faces [OPTIONS] IMAGE...
       aicli-vision browser-files --out FOLDER [-m NAME]...

Says what is in photos, or finds the faces in them. IMAGE is a file, or - for standard input. The third writes the folder
that aicli-vision/browser needs on a web server: scripts, engine, guest, and the models of these names.

classify:
  -m, --model NAME|FILE         A model of the catalog or a .tflite file.  [default: efficientnet_lite0]
  -l, --labels FILE             Class names, one a line, for a model that brings none.
  -k, --top N                   How many labels to answer.  [default: 5]
  --input-range LOW,HIGH        What pixels of 0 and 255 become: 0,1 or -1,1 or 0,255 or any two numbers.
  --mean R,G,B                  Mean of red, green, blue, with --std: in 0 to 1 or 0 to 255.
  --std R,G,B                   Standard deviation of the channels, with --mean.
  --resize squash|crop|pad      How a photo is fitted to the input.
  --channels rgb|bgr            The model's channel order.
  --output-tensor N             Which output holds the scores.
detect-faces:
  -m, --model NAME              A face model of the catalog.  [default: mtcnn]
  --min-size PIXELS             Side of the smallest face.  [default: 20]
  --thresholds A B C            Lowest scores of P-Net, R-Net and O-Net.  [default: 0.6 0.7 0.7]
  --turns                       Look at the photo turned by 90, 180 and 270 degrees too.
  --border                      Look for faces that the photo's border cuts through too.
  --factor RATIO                Ratio from one pyramid level to the next.  [default: 0.709]
  --max-faces N                 The N best faces of an image only; 0 for all.  [default: 0]
  -o, --output FILE             Write the photo with boxes here (one IMAGE only).
  --landmarks                   Draw eyes, nose and mouth corners too.
  --color NAME|#RRGGBB          Colour of boxes and dots.  [default: lime]
  --line-width PIXELS           Width of their lines.  [default: by the photo's size]
both:
  --min-score SCORE             Leave out answers below this score (0 to 1).
  -f, --format FORMAT           table, text, json or jsonl.  [default: table on a terminal, else text]
  --max-pixels N                Refuse images of more pixels.  [default: 100000000]
  --engine native|wasm          The LiteRT library, or LiteRT.js.  [default: native where it is found]
  --threads N                   Threads of the native engine.  [default: the cores, 4 at most]
  --guest FILE                  Run this WebAssembly guest instead of the packaged one.
  --guest-memory SIZE           Memory that the guest may use, such as 512M.  [default: 1G]
  --guest-timeout SECONDS       Time that the guest may use for one image.  [default: 60 with --guest]
  -q, --quiet                   Errors only.
  -v, --verbose                 Say which engine runs the networks.
  -V, --version                 Show the version.
  -h, --help                    Show this message.
`;

async function main(args: string[]): Promise<number> {
  const [command] = args;
  if (command === undefined || command === "-h" || command === "--help" || args.includes("--help") || args.includes("-h")) {
    process.stdout.write(HELP);
    return command === undefined ? 2 : 0;
  }
  if (command === "-V" || command === "--version") {
    const { version } = JSON.parse(readFileSync(join(__dirname, "..", "..", "package.json"), "utf8")) as { version: string };
    process.stdout.write(`aicli-vision ${version}\n`);
    return 0;
  }
  return run(command, args.slice(1));
}

// A reader that has enough (head) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  process.stderr.write(`aicli-vision: cannot write to standard output: ${reason(error)}\n`);
  process.exit(1);
});
main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    const known = error instanceof AicliError;
    process.stderr.write(`aicli-vision: ${known ? visible(error.message) : String(error instanceof Error ? error.stack : error)}\n`);
    process.exitCode = known ? error.exitCode : 70;
  },
);
