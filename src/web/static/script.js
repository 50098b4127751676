// Keeps a page fresh, counts times on, and answers keys. Everything can be read without it.
"use strict";
(() => {
  const $ = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const skew = Date.parse(document.body.dataset.now) - Date.now();
  const now = () => Date.now() + skew;
  // the pages come from this server alone, and it escapes what is in them
  const policy = window.trustedTypes ? trustedTypes.createPolicy("bgagent", { createHTML: (text) => text }) : { createHTML: (text) => text };
  let lastFed = Date.now();
  let waiting = null;

  // --- times ---
  const relative = (ms) => {
    const ahead = ms > 0;
    const secs = ahead ? Math.ceil(ms / 1000) : Math.floor(-ms / 1000);
    if (secs === 0) return "now";
    const [n, unit] = secs < 60 ? [secs, "s"] : secs < 3600 ? [Math.floor(secs / 60), "min"] : secs < 172800 ? [Math.floor(secs / 3600), "h"] : [Math.floor(secs / 86400), "d"];
    return ahead ? `in ${n} ${unit}` : `${n} ${unit} ago`;
  };
  const count = () => {
    if (document.hidden || !$("#stale").hidden) return;
    for (const time of all("main time")) {
      const text = relative(Date.parse(time.dateTime) - now());
      if (time.textContent !== text) time.textContent = text;
    }
    const clock = $("#clock");
    if (clock) clock.textContent = new Date(now()).toLocaleTimeString([], { hour12: false });
  };
  setInterval(count, 1000);

  // --- fresh pages ---
  const busy = () => {
    const main = $("main");
    const typed = document.activeElement && document.activeElement.matches("input, select, textarea");
    return window.scrollY > 40 || main.matches(":hover") || (document.activeElement && main.contains(document.activeElement)) || typed || String(getSelection()) !== "";
  };
  const keyed = (list) => new Map(all(":scope > [data-key]", list).map((row) => [row.dataset.key, row]));
  const replace = (old, fresh) => {
    if (old.isEqualNode(fresh) || old.contains(document.activeElement) || old.matches(":hover")) return;
    const open = all("details[open]", old).length > 0;
    if (!open) old.replaceWith(document.importNode(fresh, true));
  };
  const order = (list) => [...keyed(list).keys()].join("\n");
  const takeOver = (page) => {
    const lists = all("main [data-list]"), fresh = all("main [data-list]", page);
    const heads = (root) => all("main h1, main h2, main .facts", root).map((head) => head.textContent).join("|");
    const same = lists.length === fresh.length && lists.every((list, at) => order(list) === order(fresh[at]));
    if (!same && busy()) {
      for (const [at, list] of lists.entries()) {
        if (!fresh[at]) continue;
        const rows = keyed(fresh[at]);
        for (const [key, row] of keyed(list)) if (rows.has(key)) replace(row, rows.get(key));
      }
      waiting = page;
      $("#changes").textContent = "Show changes";
      $(".changes").hidden = false;
      return;
    }
    if (same) {
      for (const [at, list] of lists.entries()) {
        const rows = keyed(fresh[at]);
        for (const [key, row] of keyed(list)) replace(row, rows.get(key));
      }
      for (const part of all("main [data-key]")) {
        if (part.closest("[data-list]")) continue;
        const other = all("main [data-key]", page).find((one) => one.dataset.key === part.dataset.key && !one.closest("[data-list]"));
        if (other) replace(part, other);
      }
      if (heads(document) !== heads(page) && !busy()) whole(page);
    } else whole(page);
    const nav = $("nav.main", page);
    if (nav && !$("nav.main").contains(document.activeElement)) $("nav.main").replaceWith(document.importNode(nav, true));
  };
  const whole = (page) => {
    const said = $("h1", page), before = $("h1");
    if (said && before && said.textContent !== before.textContent) $("#said").textContent = said.textContent;
    $("main").replaceWith(document.importNode($("main", page), true));
    document.title = page.title;
    waiting = null;
    $(".changes").hidden = true;
  };
  let asking = false, again = false;
  const refresh = async () => {
    if (document.hidden) { again = true; return; }
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) {
        fed();
        takeOver(new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html"));
      } else starved();
    } catch { starved(); }
    asking = false;
    if (again) { again = false; setTimeout(refresh, 1000); }
  };
  const fed = () => { lastFed = Date.now(); $("#stale").hidden = true; $("#live").classList.add("on"); };
  const starved = () => {
    $("#live").classList.remove("on");
    if (!$("#stale").hidden) return;
    $("#stale-since").textContent = new Date(lastFed).toLocaleTimeString([], { hour12: false });
    $("#stale").hidden = false;
  };
  $("#changes").addEventListener("click", () => waiting && whole(waiting));

  let stream = null;
  const listen = () => {
    if (stream || document.hidden) return;
    stream = new EventSource("/live");
    stream.addEventListener("open", fed);
    stream.addEventListener("changed", refresh);
    stream.addEventListener("tick", refresh);
    stream.addEventListener("error", () => { starved(); if (stream.readyState === 2) { stream = null; setTimeout(listen, 5000); } });
  };
  // six connections are all that a browser opens to one server: a page that nobody sees gives its own back
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream && stream.close(); stream = null; } else { listen(); refresh(); }
  });
  listen();

  // --- copying, asking, keys ---
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".cmd");
    if (button && navigator.clipboard) {
      navigator.clipboard.writeText(button.dataset.cmd);
      button.classList.add("done");
      setTimeout(() => button.classList.remove("done"), 1500);
    }
    const ask = event.target.closest("[data-ask]");
    if (ask && !confirm(ask.dataset.ask)) event.preventDefault();
    const picture = event.target.closest("a.pic");
    if (picture && event.clientX) {
      // a click names a time
      const box = picture.getBoundingClientRect(), range = new URLSearchParams(location.search).get("range") || "1h";
      const hours = { "1h": 1, "6h": 6, "24h": 24, "7d": 168 }[range] || 1;
      const at = new Date(now() - (1 - (event.clientX - box.left) / box.width) * hours * 3600e3);
      event.preventDefault();
      location.href = `${picture.getAttribute("href")}&at=${encodeURIComponent(at.toISOString())}`;
    }
  });
  const pages = { n: "/", t: "/timeline", g: "/agents", r: "/runs", i: "/incidents", a: "/approvals", s: "/spending", l: "/log" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
    const rows = all("[data-row]"), at = rows.indexOf(document.activeElement && document.activeElement.closest("[data-row]"));
    if (event.key === "j" || event.key === "k") {
      const row = rows[Math.max(0, Math.min(rows.length - 1, event.key === "j" ? at + 1 : at - 1))];
      const link = row && ($("a", row) || row);
      if (link) { link.focus(); event.preventDefault(); }
    } else if (event.key === "/") { const find = $(".top .find"); if (find) { find.focus(); event.preventDefault(); }
    } else if (event.key === "Escape") { document.activeElement && document.activeElement.blur();
    } else if (pages[event.key] && !event.shiftKey) location.href = pages[event.key];
  });
})();
