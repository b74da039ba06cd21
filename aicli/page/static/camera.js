// The camera: a photo of it, and, where photos stay on the device, what it shows at this moment.

import { askLive } from "./device.js";
import { drawFaces } from "./draw.js";

const $ = (id) => document.getElementById(id);
const SECONDS = 2; // over which the rate is counted

/**
 * Wires the dialog. `settings` gives what is asked for now, with `device`: whether photos stay here; `take` gets a photo
 * as a file, `fail` an error.
 */
export function setUpCamera({ settings, take, fail }) {
  const video = $("video");
  const box = $("camera-box");
  $("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  $("camera").addEventListener("click", async () => {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      fail(new Error("The camera cannot be used: there is none, or the browser was not allowed to."));
      return;
    }
    box.showModal();
    $("live").hidden = $("live-words").hidden = !settings().device;
    if (settings().device) follow().catch((error) => { box.close(); fail(error); });
  });
  $("shoot").addEventListener("click", () => {
    const frame = document.createElement("canvas");
    frame.width = video.videoWidth;
    frame.height = video.videoHeight;
    frame.getContext("2d").drawImage(video, 0, 0);
    frame.toBlob((blob) => blob && take(new File([blob], "camera.jpg", { type: "image/jpeg" })), "image/jpeg", 0.92);
    box.close();
  });
  $("camera-close").addEventListener("click", () => box.close());
  box.addEventListener("close", () => video.srcObject?.getTracks().forEach((track) => track.stop()));

  /** One picture after the other, as fast as they are answered, until the dialog is closed. */
  async function follow() {
    const stream = video.srcObject;
    const open = () => box.open && video.srcObject === stream;
    const times = [];
    while (open()) {
      await new Promise(requestAnimationFrame); // none come while the page is hidden
      if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) continue;
      const record = await askLive(video, settings(), ({ loaded, total }) => {
        $("live-words").textContent = `Loading: ${Math.round((100 * loaded) / total)} %`;
      });
      if (!open()) return;
      const now = performance.now();
      times.push(now);
      while (now - times[0] > 1000 * SECONDS) times.shift();
      show(record, times.length > 1 ? (1000 * (times.length - 1)) / (now - times[0]) : 0);
    }
  }

  function show(record, rate) {
    const canvas = $("live");
    canvas.width = video.videoWidth; // clears it, too
    canvas.height = video.videoHeight;
    let words = "";
    if (record.faces) {
      drawFaces(canvas, record, { landmarks: settings().landmarks, scores: settings().scores, current: -1 });
      words = record.faces.length === 1 ? "1 face" : `${record.faces.length || "no"} faces`;
    } else if (record.predictions[0]) {
      words = `${record.predictions[0].label} (${(100 * record.predictions[0].score).toFixed(0)} %)`;
    }
    $("live-words").textContent = `${words}, ${rate.toFixed(1)} pictures a second`;
  }
}
