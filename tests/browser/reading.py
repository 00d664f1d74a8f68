"""How the browser tests read a page: contrast of texts, what axe-core finds, what the Tab key reaches."""

# What axe-core says of JupyterLab's own widgets, which nobody here can mend, each with its reason.
NOT_OURS: dict[str, str] = {}


def serious_findings(page, selector):
    """Return what axe-core calls serious or critical within a part of the page, each as one line."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page, context=selector).response["violations"]
    return [
        f"{v['id']}: {v['help']}: {node['html'][:200]}"
        for v in violations
        if v["impact"] in ("serious", "critical") and v["id"] not in NOT_OURS
        for node in v["nodes"]
    ]


def reach_by_tab(page, selector, wanted, presses=30):
    """Press Tab, from the top of a part of the page, until an element that matches ``wanted`` is focused; say if it was."""
    page.evaluate(
        """selector => { const top = document.querySelector(selector); top.tabIndex = -1; top.focus();
            top.scrollIntoView({block: 'center'}); }""",
        selector,
    )
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", f"{selector} {wanted}"):
            return True
    return False


# The contrast ratio (WCAG 2.1) of every text in our panels with what is behind it: a drawing says it (``data-on``).
CONTRAST = """() => {
    const parse = text => {
        if (text.startsWith('#')) return [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16)).concat(1);
        const v = text.match(/[\\d.]+/g).map(Number);
        return v.length < 4 ? [...v, 1] : v;
    };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = node => {
        if (node.dataset.on) return parse(node.dataset.on);
        for (; node; node = node.parentElement) {
            const color = parse(getComputedStyle(node).backgroundColor);
            if (color[3] > 0.9) return color;
        }
        return [255, 255, 255, 1];
    };
    const seen = [];
    for (const node of document.querySelectorAll(
            '.ms-panel p, .ms-panel li, .ms-panel label, .ms-panel code, .ms-panel text, .ms-panel .widget-readout')) {
        const text = node.textContent.trim();
        if (!text || !node.getClientRects().length) continue;
        const style = getComputedStyle(node);
        const ground = behind(node);
        const ink = parse(node.tagName === 'text' ? style.fill : style.color);
        const share = node.tagName === 'text' ? parseFloat(style.fillOpacity) : 1;
        const front = light(ink.slice(0, 3).map((v, i) => share * v + (1 - share) * ground[i]));
        const back = light(ground);
        const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        seen.push({text: text.slice(0, 40), tag: node.tagName, ratio: Math.round(ratio * 100) / 100});
    }
    return seen;
}"""
