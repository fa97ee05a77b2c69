// Turns the page that is shown into the one that the server sends now, touching only what differs.
const policy = window.trustedTypes?.createPolicy("foreserve", { createHTML: (html) => html });

// What is parsed here runs nothing, and the server has escaped every name in it.
export const parse = (html) => new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");

// Rows of long tables are left to ``later``, a list, where one is given: see ``finish``.
export function morph(from, to, later) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName) {
    from.replaceWith(to);
  } else if (from.nodeType === Node.ELEMENT_NODE) {
    if (from.hasAttribute("data-keep")) return keep(from, to);
    if (from.isEqualNode(to)) return;
    if (from.nodeName === "TIME") return keep(from, to); // its text follows the clock
    attributes(from, to);
    children(from, to, later);
  } else if (from.data !== to.data) {
    from.data = to.data;
  }
}

const SLICE_MS = 8;

// Does what was left for later, a few milliseconds at a time, what is in sight first; stops when ``wanted`` says no.
export async function finish(later, wanted) {
  const seen = ([row]) => {
    const { top, bottom } = row.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };
  const places = new Map(later.map((job) => [job, seen(job)]));
  later.sort((a, b) => places.get(b) - places.get(a));
  let until = performance.now() + SLICE_MS;
  for (const [from, to] of later) {
    if (performance.now() > until) {
      await new Promise((next) => setTimeout(next));
      until = performance.now() + SLICE_MS;
      if (!wanted()) return;
    }
    if (from.isConnected) morph(from, to);
  }
}

// Its content belongs to a script; only what it is about may change.
function keep(from, to) {
  for (const name of Object.keys(to.dataset)) from.dataset[name] = to.dataset[name];
}

function attributes(from, to) {
  // Rows that a filter has hidden stay hidden: the server knows nothing of it.
  const ours = (name) => name === "hidden" && from.hasAttribute("data-row");
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !ours(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
}

function children(from, to, later) {
  const named = new Map([...from.children].filter((child) => child.id).map((child) => [child.id, child]));
  const long = later && from.nodeName === "TBODY" && to.children.length > 20;
  let next = from.firstChild;
  for (const child of [...to.childNodes]) {
    const same = child.id ? named.get(child.id) : next && !next.id && next.nodeName === child.nodeName ? next : null;
    if (!same) {
      from.insertBefore(document.adoptNode(child), next);
      continue;
    }
    if (same === next) next = next.nextSibling;
    else from.insertBefore(same, next);
    if (long && child.nodeType === Node.ELEMENT_NODE) later.push([same, child]);
    else morph(same, child, later);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}
