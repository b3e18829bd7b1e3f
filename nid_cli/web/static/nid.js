// What a page does beyond being read: times in the reader's zone, keys, copying, sorting, figures as they are reached,
// and values that follow what runs. Everything else works without it.
"use strict";
const filters = document.getElementById("filters");
if (filters && matchMedia("(max-width: 62rem)").matches) filters.open = false;
document.documentElement.classList.add("js");

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const two = (number) => String(number).padStart(2, "0");

// Times: the server writes UTC, with as many letters as this does.
function localTimes(within) {
  for (const time of all("time[datetime]", within)) {
    const at = new Date(time.dateTime);
    if (isNaN(at)) continue;
    time.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ` +
      `${two(at.getHours())}:${two(at.getMinutes())}` + (time.hasAttribute("data-seconds") ? `:${two(at.getSeconds())}` : "");
  }
}

// Copying. A spreadsheet takes a hyphen for a minus, not the sign that is read best.
const plain = (text) => text.replaceAll("\u2212", "-").replaceAll("\u200b", "");
function asText(table) {
  const cell = (own) => plain(own.innerText.trim().replace(/\s+/g, " ")).replace(/^–$/, "");
  const shown = (own) => !own.classList.contains("pick");
  return all("tr", table).map((row) => [...row.cells].filter(shown).map(cell).join("\t")).join("\n");
}
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  const before = button.textContent;
  button.style.minWidth = `${button.offsetWidth}px`;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copies]");
  if (!button) return;
  copy(button.dataset.copy ?? asText(document.getElementById(button.dataset.copies)), button);
});
document.addEventListener("copy", (event) => {
  const chosen = String(getSelection());
  if (!chosen.includes("\u2212") || !getSelection().anchorNode?.parentElement?.closest("table")) return;
  event.clipboardData.setData("text/plain", plain(chosen));
  event.preventDefault();
});

// Sorting a table by its own cells: numbers by size, the empty last.
function value(row, index) {
  const text = plain(row.cells[index]?.innerText.trim() ?? "");
  const number = parseFloat(text.replaceAll(",", ""));
  return text === "–" || text === "" ? null : isNaN(number) || /[a-z]/i.test(text) ? text : number;
}
function sort(heading) {
  const table = heading.closest("table"), body = table.tBodies[0], index = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") !== "descending";
  all("th[aria-sort]", table).forEach((own) => own.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [value(row, index), row]);
  const order = (a, b) => typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : down ? order(b, a) : order(a, b));
  body.append(...rows.map(([, row]) => row));
}
const HEADING = "[data-sortable] thead th";
const sortable = (within) => all(HEADING, within).forEach((own) => { own.tabIndex = 0; });
document.addEventListener("click", (event) => {
  const heading = event.target.closest(HEADING);
  if (heading) sort(heading);
});
document.addEventListener("keydown", (event) => {
  const heading = event.key === "Enter" || event.key === " " ? event.target.closest(HEADING) : null;
  if (!heading) return;
  event.preventDefault();
  sort(heading);
});

// Figures come when their places are near the window.
async function fill(frame, again = false) {
  if (frame.dataset.state === "busy") return;
  frame.dataset.state = "busy";
  try {
    const answer = await fetch(frame.dataset.slot);
    const text = await answer.text();
    if (frame.dataset.text !== text) {
      frame.dataset.text = text;
      const page = new DOMParser().parseFromString(text, "text/html");
      const content = answer.ok ? [...page.body.childNodes] : all("#main h1, #main .lead", page);
      if (!answer.ok) content.forEach((own) => { own.className = "soft"; });
      if (again) await Promise.all(all("img", page).map((img) => { const own = new Image(); own.src = img.getAttribute("src"); return own.decode().catch(() => {}); }));
      frame.replaceChildren(...content);
    }
    frame.removeAttribute("aria-busy");
    frame.dataset.state = "done";
  } catch {
    frame.dataset.state = "";
    setTimeout(() => { if (document.contains(frame)) fill(frame, again); }, 3000);
  }
}
const near = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((own) => own.isIntersecting)) {
    near.unobserve(entry.target);
    fill(entry.target);
  }
}, { rootMargin: "400px" });

// Values that follow what runs: the page is asked for again, and what has changed in it is put in its place.
const lost = document.getElementById("lost");
let failed = null, followed = 0;
async function follow(wait) {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok) throw new Error(page.querySelector("h1")?.textContent ?? answer.statusText);
      for (const region of all("[data-live]")) {
        const fresh = page.getElementById(region.id);
        if (!fresh || region.dataset.shown === fresh.innerHTML) continue;
        region.dataset.shown = fresh.innerHTML;
        const focus = region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        region.replaceChildren(...fresh.childNodes);
        localTimes(region);
        sortable(document);
        if (focus) all("a", region).find((own) => own.getAttribute("href") === focus)?.focus();
      }
      if (++followed % 3 === 0) all(".frame[data-state=done]").filter(inWindow).forEach((frame) => fill(frame, true));
      failed = null;
      lost.hidden = true;
      if (!page.body.dataset.poll) return;
    } catch (error) {
      failed ??= new Date();
      const at = `${two(failed.getHours())}:${two(failed.getMinutes())}:${two(failed.getSeconds())}`;
      const why = error instanceof TypeError ? "nid ui does not answer" : error.message;
      lost.textContent = `${why}: this is what was there at ${at}. It is asked again.`;
      lost.hidden = false;
    }
  }
  setTimeout(follow, wait, wait);
}
function inWindow(element) {
  const box = element.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}

// Keys.
const links = () => all("main a.open").filter((own) => own.offsetParent);
function move(by) {
  const rows = links(), at = rows.indexOf(document.activeElement);
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
function choose() {
  const box = document.activeElement?.closest("tr")?.querySelector(".pick input");
  box?.click();
}
const KEYS = {
  "/": () => document.querySelector(".search input").select(),
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  x: choose,
  c: () => { const button = document.getElementById("compare"); if (button && !button.disabled) button.click(); },
  n: () => document.querySelector("a[rel=next]")?.click(),
  p: () => document.querySelector("a[rel=prev]")?.click(),
  g: () => { location.href = "/"; },
  r: () => { location.href = "/running"; },
  "?": () => document.getElementById("keys").showModal(),
};
document.addEventListener("keydown", (event) => {
  const at = event.target;
  if (event.key === "Escape" && at.matches("input")) { at.blur(); return; }
  const typing = at.matches("input:not([type=checkbox]), textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey || typing || document.querySelector("dialog[open]")) return;
  const act = KEYS[event.key];
  // Arrows scroll where there is no row to go to.
  if (!act || (event.key.startsWith("Arrow") && !document.querySelector("#groups") && !links().includes(at))) return;
  event.preventDefault();
  act();
});

// What is chosen for comparison.
function chosen() {
  const button = document.getElementById("compare");
  if (!button) return;
  const count = all(".pick input:checked").length;
  button.disabled = count < 1;
  button.textContent = count ? `Compare ${count} chosen` : "Compare chosen";
}
document.addEventListener("change", chosen);

// Back leads to the row that was opened.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a.open");
  if (link) history.replaceState({ opened: link.getAttribute("href") }, "");
});
addEventListener("pageshow", () => {
  chosen();
  const opened = history.state?.opened;
  if (opened) links().find((own) => own.getAttribute("href") === opened)?.focus({ preventScroll: true });
});

// A token has done its work once the page is there.
const here = new URL(location.href);
if (here.searchParams.has("token")) {
  here.searchParams.delete("token");
  history.replaceState(history.state, "", here);
}
localTimes(document);
sortable(document);
all("[data-slot]").forEach((frame) => near.observe(frame));
if (document.body.dataset.poll) setTimeout(follow, Number(document.body.dataset.poll), Number(document.body.dataset.poll));
