// Drawing a photo with boxes and landmarks, or with its faces hidden. Coordinates of a record are pixels of the upright photo.

const GREEN = "#00ff5f";
const DARK = "rgba(0, 0, 0, 0.65)";
const LONGEST = 1600;
const LARGEST = 16_000_000; // pixels: more is no canvas on some phones
const MARGIN = 0.15; // around a hidden face, in parts of its box
const CELLS = 8; // what is left of a hidden face's side
const SMALLEST_CELL = 4;

/** Sizes the canvas to the photo and draws the photo alone: at most LONGEST pixels a side, or in full. */
export function drawPhoto(canvas, bitmap, full = false) {
  const { width, height } = bitmap;
  const scale = Math.min(1, full ? Math.sqrt(LARGEST / (width * height)) : LONGEST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
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

/**
 * Hides the faces of a record: `how` is blur=true, pixelate=true, cover=solid (black) or cover, which lays `cover` on the
 * blur. What is left of a face is a grid of at most 8 x 8 colours, from which the new pixels are made, so that no
 * sharpening brings it back.
 */
export function hideFaces(canvas, record, how, cover) {
  const context = canvas.getContext("2d");
  const [sx, sy] = [canvas.width / record.width, canvas.height / record.height];
  for (const { box: [x1, y1, x2, y2] } of record.faces) {
    const [dx, dy] = [MARGIN * (x2 - x1), MARGIN * (y2 - y1)];
    const left = Math.max(0, Math.floor((x1 - dx) * sx));
    const top = Math.max(0, Math.floor((y1 - dy) * sy));
    const width = Math.min(canvas.width, Math.ceil((x2 + dx) * sx)) - left;
    const height = Math.min(canvas.height, Math.ceil((y2 + dy) * sy)) - top;
    if (width < 1 || height < 1) continue;
    context.fillStyle = "#000";
    const grid = how === "cover=solid" ? null : gridOf(canvas, left, top, width, height);
    context.fillRect(left, top, width, height);
    if (!grid) continue;
    context.imageSmoothingEnabled = how !== "pixelate=true";
    context.drawImage(grid, left, top, width, height);
    context.imageSmoothingEnabled = true;
    if (how === "cover" && cover) context.drawImage(cover, ...middleOf(cover, width / height), left, top, width, height);
  }
}

/** The largest part of this shape from a picture's middle: left, top, width, height. */
function middleOf({ width, height }, aspect) {
  const [across, down] = [Math.min(width, height * aspect), Math.min(height, width / aspect)];
  return [(width - across) / 2, (height - down) / 2, across, down];
}

/** An area as a grid of averages: halved and halved again, so that every pixel counts. */
function gridOf(canvas, left, top, width, height) {
  const cells = (side) => Math.max(1, Math.min(CELLS, Math.floor(side / SMALLEST_CELL)));
  const [across, down] = [cells(width), cells(height)];
  let from = canvas;
  let area = [left, top, width, height];
  for (;;) {
    const next = document.createElement("canvas");
    next.width = Math.max(across, Math.ceil(area[2] / 2));
    next.height = Math.max(down, Math.ceil(area[3] / 2));
    next.getContext("2d").drawImage(from, ...area, 0, 0, next.width, next.height);
    if (next.width === across && next.height === down) return next;
    from = next;
    area = [0, 0, next.width, next.height];
  }
}
