// The API's description as a page, made from /openapi.json.

const element = (tag, text = "", name = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = name;
  return made;
};

function range(schema) {
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `${schema.minItems} numbers, ${schema.items.minimum} to ${schema.items.maximum}`;
  const bounds = schema.minimum === undefined ? "" : ` from ${schema.minimum}${schema.maximum === undefined ? "" : ` to ${schema.maximum}`}`;
  return schema.type + bounds;
}

function table(heads, rows) {
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const text of heads) head.append(Object.assign(element("th", text), { scope: "col" }));
  const body = made.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const cell of cells) row.append(element("td", cell));
  }
  const box = element("div", "", "scroll");
  box.append(made);
  return box;
}

function section(path, method, operation, shared) {
  const made = element("section");
  const title = element("h2");
  title.append(element("span", method.toUpperCase(), "method"), " ", element("code", path));
  made.append(title, element("p", operation.summary + (operation.security ? ". Needs the token." : ".")));
  if (operation.description) made.append(element("p", operation.description, "quiet"));
  const parameters = [...shared, ...(operation.parameters ?? [])];
  if (parameters.length) {
    made.append(table(["Parameter", "Values", "Default", "Meaning"], parameters.map((item) => [
      item.name, range(item.schema), String(item.schema.default ?? ""), item.description ?? `in the ${item.in}`])));
  }
  if (operation.requestBody) made.append(element("p", `Body: ${Object.keys(operation.requestBody.content).join(", ")}`, "quiet"));
  made.append(table(["Status", "Meaning"], Object.entries(operation.responses).map(([status, answer]) => [status, answer.description])));
  return made;
}

const api = await (await fetch("/openapi.json")).json();
document.getElementById("about").textContent = `${api.info.description} Version ${api.info.version}.`;
const sections = Object.entries(api.paths).flatMap(([path, item]) =>
  Object.entries(item).filter(([method]) => method !== "parameters").map(([method, operation]) => section(path, method, operation, item.parameters ?? [])));
document.getElementById("docs").replaceChildren(...sections);
