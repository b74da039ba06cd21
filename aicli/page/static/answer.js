// The lists of an answer: labels with bars, faces with their boxes.

const $ = (id) => document.getElementById(id);

export function showLabels(predictions) {
  $("labels").hidden = !predictions?.length;
  $("labels").replaceChildren(...(predictions ?? []).map((prediction) => {
    const item = document.createElement("li");
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.width = `${100 * prediction.score}%`;
    item.append(bar, part("span", prediction.label, "name"), part("span", `${(100 * prediction.score).toFixed(1)} %`, "score"));
    return item;
  }));
}

/**
 * `stress` hears of the index of the face that is pointed at, or of -1. With `isSpared` and `spare` each face has a box to
 * tick: it is left as it is where the others are hidden.
 */
export function showFaces(faces, { stress, isSpared, spare }) {
  $("faces-box").hidden = !faces?.length;
  $("spare-head").hidden = !spare;
  $("faces").tBodies[0].replaceChildren(...(faces ?? []).map((face, index) => {
    const row = document.createElement("tr");
    row.append(part("td", index + 1), part("td", face.score.toFixed(3)), part("td", face.box.map(Math.round).join(", ")));
    row.addEventListener("mouseenter", () => stress(index));
    row.addEventListener("mouseleave", () => stress(-1));
    if (spare) row.append(spareBox(index, isSpared(face), () => spare(face)));
    return row;
  }));
}

function spareBox(index, checked, change) {
  const [cell, box] = ["td", "input"].map((tag) => document.createElement(tag));
  box.type = "checkbox";
  box.setAttribute("aria-label", `Leave face ${index + 1} as it is`);
  box.checked = checked;
  box.addEventListener("change", change);
  cell.append(box);
  return cell;
}

function part(tag, text, name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = name;
  return element;
}
