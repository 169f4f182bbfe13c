// Keeps the page current: loads it again every two seconds, and takes over what changed. What has the
// focus, what is typed and what is opened stay as they are. Without this script, a person reloads the page.
"use strict";

(() => {
  const main = document.querySelector("main[data-live]");
  if (!main) return;
  const EVERY = 2000;
  // In a window that is not seen, only the number in the title matters.
  const EVERY_UNSEEN = 10000;
  const PATIENCE = 15000;
  const offline = document.getElementById("offline");
  let tag = null;
  let failures = 0;
  let timer = null;

  function later() {
    clearTimeout(timer);
    timer = setTimeout(load, document.hidden ? EVERY_UNSEEN : EVERY);
  }

  function load() {
    clearTimeout(timer);
    const request = new XMLHttpRequest();
    request.open("GET", main.dataset.live);
    request.responseType = "document";
    request.timeout = PATIENCE;
    if (tag) request.setRequestHeader("If-None-Match", tag);
    request.onload = () => {
      failures = 0;
      offline.hidden = true;
      if (request.status === 401) {
        // The session has ended, and the page says how to begin another.
        location.reload();
        return;
      }
      const fresh = request.status === 200 && request.response;
      if (fresh && fresh.querySelector("main[data-live]")) {
        tag = request.getResponseHeader("ETag");
        take(fresh);
      }
      later();
    };
    request.onerror = request.ontimeout = () => {
      failures += 1;
      offline.hidden = failures < 2;
      later();
    };
    request.send();
  }

  function take(fresh) {
    document.title = fresh.title;
    // What was decided elsewhere stays in its place, as tall as before, so that nothing moves under a
    // pointer.
    const heights = new Map();
    for (const card of document.querySelectorAll("article.pending")) {
      heights.set(card.id, card.offsetHeight);
    }
    for (const id of ["nav", "frozen", "main"]) {
      const [old, next] = [document.getElementById(id), fresh.getElementById(id)];
      if (old && next) merge(old, next);
    }
    for (const [id, height] of heights) {
      const card = document.getElementById(id);
      if (card && !card.classList.contains("pending")) card.style.minHeight = `${height}px`;
    }
  }

  // Makes a node like another one, and keeps every node that is in both.
  function merge(old, fresh) {
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE || old.isEqualNode(fresh) || "kept" in old.dataset) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !isPersons(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !isPersons(name)) old.setAttribute(name, value);
    }
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const known = next.id ? [...old.children].find((child) => child.id === next.id) : at;
      if (known && isAlike(known, next)) {
        if (known === at) at = at.nextSibling;
        else old.insertBefore(known, at);
        merge(known, next);
      } else {
        old.insertBefore(document.importNode(next, true), at);
      }
    }
    while (at) {
      const rest = at.nextSibling;
      at.remove();
      at = rest;
    }
  }

  function isPersons(name) {
    return name === "open" || name === "style";
  }

  function isAlike(one, other) {
    return one.nodeType === other.nodeType && one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) load();
  });
  later();
})();
