// Divides every section of a lesson into pages that fit on 1280 x 720, then hands the deck to reveal.js.
//
// A section's cells become blocks (a paragraph, an item of a list, a statement of code, lines that were printed, a picture).
// Where to break is chosen by the least cost: few pages, type not smaller than it must be, and no break where one hurts (below a
// heading, within code). The type of a page shrinks to SMALLEST at most; only one block that is larger than a page (a
// picture, an explorer) shrinks further.
(function () {
  "use strict";
  const HEIGHT = 640, WIDTH = 1192, SMALLEST = 0.8, PICTURE = 0.75, LARGEST = 1.5, STEP = 0.04;
  const FREE = 0, SOFT = 0.25, HARD = 1.2, VERY_HARD = 4, NEVER = 50;

  const make = (classes, ...children) => {
    const div = document.createElement("div");
    div.className = "block " + classes;
    div.append(...children);
    return div;
  };

  // Lines of a highlighted or printed text; null where a tag spans several lines.
  function linesOf(pre) {
    const lines = pre.innerHTML.replace(/^\n+|\s+$/g, "").split("\n");
    const closed = line => (line.match(/<\w/g) || []).length === (line.match(/<\//g) || []).length;
    return lines.every(closed) ? lines : null;
  }

  // A text as blocks: whole where it is short (what was printed may be a drawing), else paragraphs, else pieces of a dozen lines.
  function textBlocks(pre, kind, size) {
    const lines = linesOf(pre);
    let pieces = [[]];
    const text = line => line.replace(/<[^>]*>/g, "");
    if (lines && lines.length > (kind === "code" ? 8 : 24)) {
      for (const [i, line] of lines.entries()) {
        const last = pieces.at(-1);
        const begins = kind === "code" && i > 0 && /^\S/.test(text(line)) && text(lines[i - 1]).trim() === "";
        if (last.length && (begins || last.length >= 12)) pieces.push([]);
        pieces.at(-1).push(line);
      }
      if (pieces.length > 1 && pieces.at(-1).length < 3) pieces.at(-2).push(...pieces.pop());
    } else {
      pieces = [lines || [pre.innerHTML.trim()]];
    }
    return pieces.map((piece, i) => {
      const copy = document.createElement("pre");
      copy.innerHTML = piece.join("\n") + "\n";
      copy.style.fontSize = `min(20px, calc(${size}px / var(--zoom, 1)))`;
      const block = make(kind + (kind === "code" ? " highlight" : ""), copy);
      if (i === 0) block.classList.add("first");
      if (i === pieces.length - 1) block.classList.add("last");
      // What a break in front of this block costs.
      const paragraph = i > 0 && text(pieces[i - 1].at(-1)).trim() === "";
      return { block, cost: i === 0 ? SOFT : paragraph ? HARD : VERY_HARD };
    });
  }

  // The largest type, in pixels of the screen, at which the longest line is not wrapped. Type is in pixels of the page; where a
  // whole page is shrunk by --zoom, lines have more room, and code need not shrink with the rest.
  function sizeFor(pre) {
    const longest = Math.max(...pre.textContent.split("\n").map(line => line.trimEnd().length));
    return Math.max(15, Math.floor((WIDTH - 40) / (0.603 * longest) * 4) / 4);
  }

  function zoom(element, scale) {
    element.style.zoom = scale;
    element.style.setProperty("--zoom", scale);
  }

  function markdownBlocks(area, first) {
    const blocks = [];
    const classes = "jp-RenderedHTMLCommon jp-RenderedMarkdown";
    for (const node of [...area.childNodes]) {
      if (node.nodeType === 3 && node.textContent.trim()) {
        const p = document.createElement("p");
        p.append(node);
        blocks.push({ block: make(classes, p), cost: SOFT });
      }
      if (node.nodeType !== 1) continue;
      const cost = /^H\d/.test(node.tagName) ? FREE : SOFT;
      if (/^(UL|OL)$/.test(node.tagName) && node.children.length > 1) {
        [...node.children].forEach((item, i) => {
          const list = node.cloneNode(false);
          if (node.tagName === "OL") list.start = (node.start || 1) + i;
          list.append(item);
          list.style.marginBottom = i === node.children.length - 1 ? "" : "3px";
          blocks.push({ block: make(classes, list), cost: i ? HARD : HARD / 2 });
        });
      } else {
        if (node.tagName === "DETAILS") node.open = true;
        const after = blocks.at(-1);
        const bound = after && /^(TABLE|PRE|DIV)$/.test(node.tagName);
        blocks.push({ block: make(classes, node), cost: bound ? HARD : cost, heading: /^H[1-6]$/.test(node.tagName) });
      }
    }
    if (blocks.length) blocks[0].cost = blocks[0].heading ? FREE : first;
    return blocks;
  }

  // The calls behind a question, and the lines a student takes the comment sign from, say nothing to a class.
  const UNSEEN = /^\s*((question|exercise)\("[^"]*"[^()]*\)|(# \w+\(.*\)\s*)+)\s*$/;

  function cellBlocks(cell) {
    if (cell.classList.contains("jp-MarkdownCell")) return markdownBlocks(cell.querySelector(".jp-RenderedMarkdown"), FREE);
    const blocks = [];
    const input = cell.querySelector(".jp-InputArea pre");
    const outputs = [...cell.querySelectorAll(".jp-OutputArea-output")];
    if (input && !UNSEEN.test(input.textContent)) blocks.push(...textBlocks(input, "code", sizeFor(input)));
    for (const output of outputs) {
      const pre = output.matches(".jp-RenderedText") ? output.querySelector("pre") : null;
      if (pre) blocks.push(...textBlocks(pre, "text", sizeFor(pre)).map((b, i) => (i ? b : { ...b, cost: HARD })));
      else if (output.matches(".jp-RenderedMarkdown")) blocks.push(...markdownBlocks(output, HARD));
      else {
        const picture = Boolean(output.querySelector("svg, img, canvas"));
        blocks.push({ block: make(picture ? "output picture" : "output", output), cost: picture ? HARD : SOFT, picture });
      }
    }
    if (blocks.length && input) blocks[0].cost = SOFT;
    return blocks;
  }

  // The height of each block when the page is drawn at this scale.
  function heights(blocks, box, scale) {
    zoom(box, scale);
    const tall = blocks.map(({ block }) => {
      const style = getComputedStyle(block);
      return block.offsetHeight + parseFloat(style.marginTop) + parseFloat(style.marginBottom);
    });
    zoom(box, 1);
    return tall.map(h => h * scale);
  }

  // The first blocks of the pages, by dynamic programming from the end.
  function breaks(blocks, normal, small) {
    const best = Array(blocks.length + 1).fill(null);
    best[blocks.length] = { cost: 0, next: null };
    for (let i = blocks.length - 1; i >= 0; i--) {
      let atNormal = 0, atSmall = 0, whole = 0; // whole: small, and pictures no smaller than the type
      for (let j = i; j < blocks.length; j++) {
        atNormal += normal[j];
        whole += small[j];
        atSmall += blocks[j].picture ? PICTURE * small[j] : small[j];
        if (atSmall > HEIGHT && j > i) break;
        const shrunk = Math.max(0, atNormal / HEIGHT - 1), empty = Math.max(0, 1 - atNormal / HEIGHT);
        let cost = 1 + 1.6 * Math.min(shrunk, 1) + 4 * Math.max(0, whole / HEIGHT - 1) + 0.9 * empty ** 2 + best[j + 1].cost;
        if (j + 1 < blocks.length) cost += blocks[j].heading ? NEVER : blocks[j + 1].cost;
        if (!best[i] || cost < best[i].cost) best[i] = { cost, next: j + 1 };
      }
    }
    const starts = [];
    for (let i = 0; i !== null && i < blocks.length; i = best[i].next) starts.push(i);
    return starts;
  }

  function fits(inner) {
    const wide = [...inner.querySelectorAll("img, svg, table, pre, .ms-panel")];
    const right = inner.getBoundingClientRect().left + WIDTH + 1;
    return inner.getBoundingClientRect().height <= HEIGHT + 1 && wide.every(e => e.getBoundingClientRect().right <= right);
  }

  // Shrink type and pictures by turns, until the page holds; where there is room, let pictures grow.
  function fit(inner) {
    const pictures = [...inner.querySelectorAll(":scope > .picture")];
    let type = 1, picture = 1;
    const shrinkType = smallest => {
      while (type > smallest + 0.001 && !fits(inner)) zoom(inner, (type -= STEP));
    };
    const draw = scale => {
      picture = scale;
      pictures.forEach(p => (p.style.zoom = scale));
    };
    const shrinkPictures = smallest => {
      while (picture > smallest + 0.001 && !fits(inner)) draw(picture - STEP);
    };
    shrinkType(0.88);
    shrinkPictures(PICTURE);
    shrinkType(SMALLEST);
    if (pictures.length) shrinkPictures(0.4);
    shrinkType(0.4);
    if (pictures.length && type === 1 && picture === 1) {
      while (picture < LARGEST && fits(inner)) draw(picture + STEP);
      if (!fits(inner)) draw(picture - STEP);
    }
    inner.querySelectorAll("details").forEach(d => (d.open = false)); // measured open; an answer is opened by a click
    inner.dataset.type = type.toFixed(2);
    inner.dataset.picture = picture.toFixed(2);
  }

  function divide(section, running) {
    const box = document.createElement("div");
    const blocks = [];
    for (const child of [...section.children]) {
      const cells = child.matches(".fragment") ? [...child.children] : [child];
      for (const cell of cells) {
        if (cell.matches("aside.notes")) {
          cell.querySelectorAll("details").forEach(d => (d.open = true));
          if (blocks.length) (blocks.at(-1).notes ||= []).push(cell);
        } else if (cell.matches(".jp-Cell")) blocks.push(...cellBlocks(cell));
      }
    }
    box.append(...blocks.map(b => b.block));
    section.replaceChildren(box);
    if (!blocks.length) return section.remove();
    const starts = breaks(blocks, heights(blocks, box, 1), heights(blocks, box, SMALLEST));
    const pages = starts.map((start, k) => {
      const page = document.createElement("section"), inner = document.createElement("div");
      page.className = "page";
      const part = blocks.slice(start, starts[k + 1]);
      inner.append(...part.map(b => b.block));
      page.append(inner, ...part.flatMap(b => b.notes || []));
      if (running && !(part[0].heading)) {
        const line = document.createElement("p");
        line.className = "running";
        line.textContent = running;
        page.prepend(line);
      }
      for (const b of part) if (b.heading) running = b.block.textContent.replace(/¶/g, "").trim();
      return page;
    });
    section.replaceWith(...pages);
    pages.forEach(page => fit(page.querySelector("div")));
    return running;
  }

  async function start() {
    const slides = document.querySelector(".slides");
    const images = [...document.images].map(image => image.decode().catch(() => null));
    await Promise.all([document.fonts.ready, ...images]);
    slides.parentElement.classList.add("measuring");
    for (const column of [...slides.children]) {
      let running = "";
      for (const section of [...column.children]) if (section.matches("section")) running = divide(section, running) || running;
      if (!column.querySelector("section")) column.remove();
    }
    slides.parentElement.classList.remove("measuring");
    document.body.dataset.pages = document.querySelectorAll("section.page").length;
    if (!window.Reveal) return; // the pages stand below each other
    await Reveal.initialize({
      width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t", transition: "none",
      plugins: window.RevealNotes ? [RevealNotes] : [],
    });
    document.body.dataset.ready = "yes";
  }

  addEventListener("load", start);
})();
