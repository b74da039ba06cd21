// Upload a photo, see the boxes and the label: the functions of aicli behind Express. npm install && node server.js
const express = require("express");
const sharp = require("sharp");
const { AicliError, Classifier, FaceDetector } = require("aicli-vision");

const page = (body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>What is in the photo?</title>
<style>body { font: 1rem system-ui; margin: 2rem; } img { max-width: 100%; }</style>
<form><input type="file" accept="image/*" onchange="ask(this.files[0])"></form><div id="answer">${body}</div>
<script>const ask = async (photo) => document.getElementById("answer").innerHTML =
  await (await fetch("/", { method: "POST", body: photo, headers: { "Content-Type": "application/octet-stream" } })).text();</script></html>`;

const text = (value) => value.replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`);

const boxes = ({ width, height, faces }) => Buffer.from(
  `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${faces.map(({ box: [x1, y1, x2, y2] }) =>
    `<rect x="${x1}" y="${y1}" width="${x2 - x1}" height="${y2 - y1}" fill="none" stroke="lime" stroke-width="3"/>`)}</svg>`);

async function serve(port) {
  const [classifier, detector] = await Promise.all([Classifier.load(), FaceDetector.load()]);
  const app = express();
  app.get("/", (_, response) => response.send(page("")));
  app.post("/", express.raw({ type: () => true, limit: "20mb" }), async (request, response) => {
    try {
      const photo = request.body;
      const { predictions: [best] } = await classifier.classify(photo, { name: "the photo" });
      const found = await detector.detect(photo, { name: "the photo" });
      const picture = await sharp(photo).autoOrient().composite([{ input: boxes(found) }]).jpeg().toBuffer();
      response.send(`<p>${text(best.label)} (${best.confidence}), faces: ${found.faces.length}</p>
        <img alt="the photo with boxes around the faces" src="data:image/jpeg;base64,${picture.toString("base64")}">`);
    } catch (error) {
      if (!(error instanceof AicliError)) throw error;
      response.status(422).send(text(error.message));
    }
  });
  return app.listen(port, "127.0.0.1");
}

if (require.main === module) serve(8000).then(() => console.log("http://127.0.0.1:8000"));
module.exports = { serve };
