// What the inputs of explorers do in the browser; their other half is inputs.py.
// Plain elements with a name each: keyboard and screen readers know them.

const element = (tag, properties = {}, children = []) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};

function slider(model, el) {
  const name = model.get("label");
  const range = element("input", { type: "range", min: 0, step: 1 });
  const output = element("output");
  const label = element("label", {}, [element("span", { textContent: name }), range, output]);
  el.append(label);
  const show = () => {
    const names = model.get("names");
    range.max = names.length - 1;
    range.disabled = names.length < 2;
    range.value = model.get("index");
    output.textContent = names[model.get("index")] ?? "";
    range.setAttribute("aria-valuetext", output.textContent);
    // As wide as the widest value, so that nothing moves while it runs.
    output.style.minWidth = Math.max(...names.map((text) => text.length)) + 0.5 + "ch";
  };
  const move = (index) => {
    model.set("index", index);
    model.save_changes();
  };
  range.addEventListener("input", () => move(+range.value));
  // JupyterLab folds headings with the arrow keys: here they belong to the slider.
  range.addEventListener("keydown", (event) => event.key.startsWith("Arrow") && event.stopPropagation());
  model.on("change:names change:index", show);
  show();
  if (!model.get("play")) return () => model.off("change:names change:index", show);

  let timer = 0;
  const button = element("button", { type: "button" });
  const set = (playing) => {
    clearInterval(timer);
    timer = playing ? setInterval(() => move((model.get("index") + 1) % model.get("names").length), 600) : 0;
    button.textContent = playing ? "⏸" : "▶";
    button.setAttribute("aria-label", (playing ? "pause " : "play ") + name);
  };
  button.addEventListener("click", () => set(!timer));
  range.addEventListener("pointerdown", () => set(false));
  el.append(button);
  set(false);
  return () => {
    set(false);
    model.off("change:names change:index", show);
  };
}

function numbers(model, el) {
  const name = model.get("label");
  const fields = model.get("rows").map((row, i) =>
    row.map((_, j) => {
      const field = element("input", { type: "text", inputMode: "numeric" });
      field.setAttribute("aria-label", `${name}, row ${i}, column ${j}`);
      field.addEventListener("change", () => model.send({ row: i, column: j, text: field.value }));
      field.addEventListener("focus", () => field.select());
      // What is typed here is no shortcut of JupyterLab's; Enter takes the number and stays.
      field.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === "Enter") {
          field.blur();
          field.focus();
        }
      });
      return field;
    }),
  );
  const message = element("p");
  message.setAttribute("role", "status");
  el.append(element("div", { textContent: name }), ...fields.map((row) => element("div", {}, row)), message);
  const show = () => {
    model.get("rows").forEach((row, i) => row.forEach((text, j) => (fields[i][j].value = text)));
    message.textContent = model.get("message");
    message.className = message.textContent ? "ms-wrong" : "";
  };
  model.on("change:rows change:message msg:custom", show);
  show();
  return () => model.off("change:rows change:message msg:custom", show);
}

function cells(model, el) {
  const name = model.get("label");
  const buttons = model.get("value").map((row, i) =>
    row.map((_, j) => {
      const button = element("button", { type: "button" });
      button.setAttribute("aria-label", `${name}, row ${i}, column ${j}`);
      button.addEventListener("click", () => model.send({ row: i, column: j }));
      return button;
    }),
  );
  // One stop for the Tab key; arrow keys go from cell to cell.
  el.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const i = buttons.findIndex((row) => row.includes(event.target));
    if (!step || i < 0) return;
    const next = buttons[i + step[0]]?.[buttons[i].indexOf(event.target) + step[1]];
    if (!next) return;
    buttons.flat().forEach((button) => (button.tabIndex = button === next ? 0 : -1));
    next.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  buttons.flat().forEach((button, at) => (button.tabIndex = at ? -1 : 0));
  const grid = element("div", {}, buttons.map((row) => element("div", {}, row)));
  grid.setAttribute("role", "group");
  grid.setAttribute("aria-label", name);
  el.append(element("div", { textContent: name }), grid);
  const show = () =>
    model.get("value").forEach((row, i) =>
      row.forEach((on, j) => {
        buttons[i][j].setAttribute("aria-pressed", on ? "true" : "false");
        buttons[i][j].textContent = on ? "■" : "·";
      }),
    );
  model.on("change:value", show);
  show();
  return () => model.off("change:value", show);
}

export default {
  render({ model, el }) {
    el.classList.add("ms-input", `ms-${model.get("kind")}`);
    return { slider, numbers, cells }[model.get("kind")](model, el);
  },
};
