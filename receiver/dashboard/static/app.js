// What pages cannot do without a script: ages that grow, a live indicator that can be paused, keys.
// Everything else works without it.
(() => {
  "use strict";
  const live = document.getElementById("live");
  const said = document.getElementById("said");
  const dialog = document.getElementById("keys");
  const words = { live: "Live", paused: "Paused", reconnecting: "Reconnecting", offline: "Offline" };
  const OFFLINE_AFTER_MS = 30_000;
  const LOOK_WITHOUT_STREAM_MS = 30_000;
  const TELL_EVERY_MS = 10_000;
  let lostAt = null;
  let missed = new Set();

  // --- ages -------------------------------------------------------------------------------------------------
  const duration = (seconds) => {
    const s = Math.max(0, Math.floor(seconds)), m = Math.floor(s / 60), h = Math.floor(s / 3600), d = Math.floor(s / 86400);
    if (!m) return `${s} s`;
    if (!h) return `${m} min`;
    if (!d) return `${h} h ${String(m % 60).padStart(2, "0")} m`;
    return `${d} d ${h % 24} h`;
  };
  // The server's clock counts, not this computer's.
  const skew = Date.parse(document.documentElement.dataset.now ?? "") - Date.now() || 0;
  const grow = () => {
    for (const time of document.querySelectorAll("time[data-kind=ago], time[data-kind=until]")) {
      const seconds = (Date.now() + skew - Date.parse(time.dateTime)) / 1000;
      const text = time.dataset.kind === "ago" ? `${duration(seconds)} ago` : seconds < 0 ? `in ${duration(-seconds)}` : "now";
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(grow, 1000);
  document.addEventListener("htmx:after:settle", grow);

  // --- live -------------------------------------------------------------------------------------------------
  const show = (state) => {
    if (!live || live.dataset.state === state) return;
    live.hidden = false;
    live.dataset.state = state;
    live.textContent = words[state];
    live.title = state === "paused" ? "Go on (p)" : "Pause (p)";
  };
  const isPaused = () => live?.dataset.state === "paused";
  const topicsShown = () =>
    [...document.querySelectorAll("[data-live]")].map((region) => region.getAttribute("hx-trigger").split(" ")[0]);
  const refresh = (topics) => topics.forEach((topic) => window.htmx?.trigger(document.body, topic));

  document.addEventListener("htmx:sse:after:connection", () => {
    lostAt = null;
    if (!isPaused()) show("live");
  });
  const lost = () => {
    lostAt ??= Date.now();
    if (!isPaused()) show(Date.now() - lostAt < OFFLINE_AFTER_MS ? "reconnecting" : "offline");
  };
  document.addEventListener("htmx:sse:error", lost);
  document.addEventListener("htmx:sse:close", lost);
  document.addEventListener("signed-out", () => location.reload());
  // Nothing moves under somebody who reads the keys or has begun to choose rows.
  const isBusy = () => dialog.open || document.querySelector("main tbody input[type=checkbox]:checked") !== null;
  document.addEventListener("htmx:before:request", (event) => {
    const region = event.target.closest?.("[data-live]");
    if (!region || !(isPaused() || isBusy())) return;
    missed.add(region.getAttribute("hx-trigger").split(" ")[0]);
    event.preventDefault();
  });
  setInterval(() => {
    if (lostAt === null || isPaused()) return;
    lost();
    refresh(new Set(topicsShown()));
  }, LOOK_WITHOUT_STREAM_MS);
  const catchUp = () => {
    if (isPaused() || isBusy()) return;
    const topics = missed;
    missed = new Set();
    refresh(topics);
  };
  const togglePause = () => {
    show(!isPaused() ? "paused" : lostAt === null ? "live" : "reconnecting");
    catchUp();
    if (said) said.textContent = `Updates: ${live.textContent}`;
  };
  live?.addEventListener("click", togglePause);
  document.addEventListener("change", catchUp);
  // Who does not see what appears is told, not more often than can be listened to.
  const news = () =>
    [...document.querySelectorAll("a.news, .attention li > a:first-of-type")].map((one) => one.textContent.trim()).join("; ");
  let told = news();
  setInterval(() => {
    if (said && news() !== told) said.textContent = told = news();
  }, TELL_EVERY_MS);

  // --- keys -------------------------------------------------------------------------------------------------
  const keysOn = document.getElementById("keys-on");
  const showKeys = document.getElementById("show-keys");
  // Whoever speaks to the computer may not want single keys to mean anything.
  keysOn.checked = localStorage.getItem("keys") !== "off";
  keysOn.addEventListener("change", () => localStorage.setItem("keys", keysOn.checked ? "on" : "off"));
  showKeys.hidden = false;
  // The menu goes first: a dialog gives the focus back to where it was, and that must still be there.
  showKeys.addEventListener("click", () => { closeMenu(showKeys.closest("details")); dialog.showModal(); });
  dialog.addEventListener("close", catchUp);
  let afterG = 0;
  const WAY_IN = "a[href], summary";
  const rows = () =>
    [...document.querySelectorAll("main tbody tr, main .timeline > li")].filter((row) => row.querySelector(WAY_IN));
  const step = (by) => {
    const all = rows(), at = all.findIndex((row) => row.contains(document.activeElement));
    all[Math.min(Math.max(at + by, 0), all.length - 1)]?.querySelector(WAY_IN).focus();
  };
  const keys = {
    "/": () => document.getElementById("jump")?.focus(),
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click(),
    e: () => document.activeElement.closest("tr, li")?.querySelector("summary")?.click(),
    ".": () => document.querySelector("a.news")?.click(),
    p: togglePause,
    "?": () => dialog.showModal(),
    g: () => { afterG = Date.now(); },
  };
  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest?.("input:not([type=checkbox]), select, textarea, [contenteditable], dialog");
    if (busy || !keysOn.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Date.now() - afterG < 1500) {
      afterG = 0;
      const page = document.querySelector(`.side a[data-key="${CSS.escape(event.key)}"]`);
      if (page) { event.preventDefault(); page.click(); return; }
    }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  // A menu closes when one looks elsewhere.
  const closeMenu = (menu) => { menu.open = false; menu.querySelector("summary").focus(); };
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach(closeMenu);
  });
})();
