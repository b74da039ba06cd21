// Drawing a photo with boxes and landmarks. Coordinates of a record are pixels of the upright photo.

const GREEN = "#00ff5f";
const DARK = "rgba(0, 0, 0, 0.65)";
export const LONGEST = 1600;

/** Sizes the canvas to the photo, at most LONGEST pixels a side, and draws the photo alone. */
export function drawPhoto(canvas, bitmap) {
  const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

/** Draws the faces of a record over the photo; `current` is the index of the face to stress, or -1. */
export function drawFaces(canvas, record, { landmarks, scores, current }) {
  const context = canvas.getContext("2d");
  const sx = canvas.width / record.width;
  const sy = canvas.height / record.height;
  const line = Math.max(2, Math.round(Math.min(canvas.width, canvas.height) / 250));
  record.faces.forEach((face, index) => {
    const [x1, y1, x2, y2] = face.box;
    const box = [x1 * sx, y1 * sy, (x2 - x1) * sx, (y2 - y1) * sy];
    context.lineWidth = line + 2;
    context.strokeStyle = DARK;
    context.strokeRect(...box);
    context.lineWidth = index === current ? line * 2 : line;
    context.strokeStyle = GREEN;
    context.strokeRect(...box);
    if (landmarks) drawPoints(context, Object.values(face.landmarks), sx, sy, Math.max(1.5, box[2] / 40));
    if (scores) drawTab(context, face.score.toFixed(2), box, line);
  });
}

function drawPoints(context, points, sx, sy, radius) {
  for (const [x, y] of points) {
    context.beginPath();
    context.arc(x * sx, y * sy, radius, 0, 2 * Math.PI);
    context.fillStyle = GREEN;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = DARK;
    context.stroke();
  }
}

function drawTab(context, text, [x, y, width], line) {
  const size = Math.max(11, Math.min(24, width / 3));
  context.font = `${size}px system-ui, sans-serif`;
  const wide = context.measureText(text).width + 6;
  const top = y - size - 4 >= 0 ? y - size - 4 : y + line;
  context.fillStyle = GREEN;
  context.fillRect(x, top, wide, size + 4);
  context.fillStyle = "#000";
  context.textBaseline = "middle";
  context.fillText(text, x + 3, top + (size + 4) / 2);
}
