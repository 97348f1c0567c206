// The page of a web chat. It shows texts only: nothing that it is sent becomes markup, and it makes no request but to its
// own server. A message is kept until the server has answered it, and is sent again under the same id after a loss.
(() => {
  "use strict";

  const MOST_ENTRIES = 300; // entries that are shown at the same time
  const PING_SECONDS = 30;
  const SILENCE_SECONDS = 75; // without a word of the server for so long, the connection counts as lost
  const TABS_SECONDS = 0.25; // for which a new tab waits for what the others have shown
  const FIRST_PAUSE = 0.5; // seconds before the connection is made anew, doubled each time
  const LONGEST_PAUSE = 15;
  const REPLACED = 4000; // the code with which the server closes the oldest of too many tabs

  const words = JSON.parse(document.body.dataset.words);
  const log = document.getElementById("log");
  const form = document.getElementById("say");
  const field = document.getElementById("words");
  const state = document.getElementById("state");
  const address = new URL(document.body.dataset.socket, location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const storeKey = `vimbiso ${address.pathname}`;
  const tabs = "BroadcastChannel" in window ? new BroadcastChannel(storeKey) : null;

  const entries = []; // what is shown, for tabs that are opened later
  const shown = new Set(); // the names of entries that are shown, so that none is shown twice
  let queue = []; // frames that the server has not answered, the first of which is on its way
  let socket = null;
  let sent = ""; // the id of the frame that is on its way on this connection
  let pause = FIRST_PAUSE;
  let timer = 0;
  let again = 0;
  let heard = 0;
  let isFresh = true; // the page has its cookie from a moment ago
  let isReplaced = false;

  function newId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // What is shown ---------------------------------------------------------------------------------------------------

  function isAtEnd() {
    return log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  }

  function append(made, follows) {
    log.append(made);
    while (log.children.length > MOST_ENTRIES) log.firstElementChild.remove();
    if (follows) log.scrollTop = log.scrollHeight;
  }

  function bubble(entry, text) {
    const made = element("div", "bubble", text);
    made.dir = "auto";
    entry.append(made);
  }

  function entryOf(who) {
    const made = element("div", `entry ${who}`);
    made.append(element("span", "hidden", `${words[who]}: `));
    return made;
  }

  function closeOptions() {
    for (const options of log.querySelectorAll("[role=group]")) options.remove();
  }

  function option(label, about, act) {
    const button = element("button", "", label);
    button.type = "button";
    if (about) button.append(element("span", "about", about));
    button.addEventListener("click", (event) => {
      const byKeyboard = event.detail === 0;
      act(button);
      if (byKeyboard && !button.isConnected) field.focus(); // the focus was on what is gone now
    });
    return button;
  }

  function optionsOf(entry, label, buttons, className) {
    const made = element("div", `options ${className}`);
    made.setAttribute("role", "group");
    made.setAttribute("aria-label", label || words.conversation);
    made.append(...buttons);
    entry.append(made);
  }

  function link(entry, source, label) {
    let url = null;
    try {
      url = new URL(source);
    } catch {
      // it is the id of a file, and no address
    }
    if (url === null || !["https:", "http:"].includes(url.protocol)) {
      bubble(entry, label);
      return;
    }
    const made = element("a", "link", label);
    made.href = url.href;
    made.target = "_blank";
    made.rel = "noopener noreferrer";
    const holder = element("div", "options");
    holder.append(made);
    entry.append(holder);
  }

  function showReply(reply) {
    const entry = entryOf("bot");
    const kind = reply.type;
    if (kind === "location") {
      bubble(entry, [reply.name, reply.address].filter(Boolean).join("\n") || `${reply.latitude}, ${reply.longitude}`);
      link(entry, `https://maps.google.com/?q=${reply.latitude},${reply.longitude}`, words.map);
    } else if (reply.text) {
      bubble(entry, reply.text);
    }
    if (kind === "buttons" || kind === "menu") {
      closeOptions();
      const choices = kind === "menu" ? reply.rows : reply.buttons;
      const buttons = choices.map((each) => option(each.title, each.description, () => say({ choice: each.id }, each.title)));
      optionsOf(entry, reply.text, buttons, kind === "menu" ? "rows" : "");
    } else if (kind === "ask_location" && "geolocation" in navigator) {
      optionsOf(entry, reply.text, [option(reply.title || words.location, "", sendLocation)], "");
    } else if (kind === "link") {
      link(entry, reply.url, reply.title || reply.url);
    } else if (["image", "audio", "video", "sticker", "file"].includes(kind)) {
      link(entry, reply.source, reply.name ? `${words[kind]}: ${reply.name}` : words[kind]);
    }
    return entry;
  }

  function showReplies(name, replies) {
    if (shown.has(name)) return;
    shown.add(name);
    if (!replies.length) return;
    const follows = isAtEnd();
    entries.push({ who: "bot", name, replies });
    for (const reply of replies) append(showReply(reply), follows);
    trim();
  }

  function showSaid(id, label) {
    if (shown.has(`said ${id}`)) return;
    shown.add(`said ${id}`);
    closeOptions();
    const entry = entryOf("you");
    entry.id = `said-${id}`;
    bubble(entry, label);
    entries.push({ who: "you", id, label });
    append(entry, true);
    trim();
  }

  function trim() {
    while (entries.length > MOST_ENTRIES) entries.shift();
  }

  function note(id, text) {
    const entry = document.getElementById(`said-${id}`);
    if (entry) entry.append(element("p", "note", text));
  }

  function markWaiting() {
    for (const entry of log.querySelectorAll(".waiting")) entry.classList.remove("waiting");
    for (const { frame } of queue) document.getElementById(`said-${frame.id}`)?.classList.add("waiting");
  }

  function setState(text) {
    if (state.textContent !== text) state.textContent = text;
  }

  // What is said ----------------------------------------------------------------------------------------------------

  function keep() {
    try {
      sessionStorage.setItem(storeKey, JSON.stringify(queue.filter(({ frame }) => frame.type === "say")));
    } catch {
      // without storage, what is not answered yet is kept until the tab is closed or read anew
    }
  }

  function say(part, label) {
    const frame = { type: "say", id: newId(), ...part };
    queue.push({ frame, label });
    keep();
    showSaid(frame.id, label);
    tabs?.postMessage({ said: frame.id, label });
    if (!isOpen()) markWaiting();
    sendNext();
    if (isReplaced) connect();
  }

  function sendLocation(button) {
    const failed = () => {
      button.disabled = false;
      button.closest(".entry").append(element("p", "note", words.no_location));
    };
    button.disabled = true;
    navigator.geolocation.getCurrentPosition(
      ({ coords: { latitude, longitude } }) =>
        say({ content: { kind: "location", latitude, longitude } }, `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`),
      failed,
      { timeout: 20000 },
    );
  }

  // The connection --------------------------------------------------------------------------------------------------

  function isOpen() {
    return socket !== null && socket.readyState === WebSocket.OPEN;
  }

  function send(frame) {
    if (isOpen()) socket.send(JSON.stringify(frame));
  }

  function sendNext() {
    if (!isOpen() || !queue.length || sent === queue[0].frame.id || again) return;
    sent = queue[0].frame.id;
    send(queue[0].frame);
  }

  function done(id) {
    queue = queue.filter(({ frame }) => frame.id !== id);
    if (sent === id) sent = "";
    keep();
    markWaiting();
    setState("");
    sendNext();
  }

  function take(frame) {
    heard = Date.now();
    if (frame.type === "answer") {
      showReplies(`answer ${frame.id}`, frame.replies);
      tabs?.postMessage({ frame });
      done(frame.id);
    } else if (frame.type === "push") {
      showReplies(`push ${frame.key}`, frame.replies);
      tabs?.postMessage({ frame });
      send({ type: "got", key: frame.key });
    } else if (frame.type === "refused" && frame.again !== undefined) {
      setState(frame.reply || words.waiting);
      clearTimeout(again);
      again = setTimeout(() => {
        again = 0;
        sent = "";
        sendNext();
      }, Math.min(Math.max(frame.again, 1), 3600) * 1000);
    } else if (frame.type === "refused" && frame.id) {
      note(frame.id, words.refused);
      done(frame.id);
    }
  }

  async function connect() {
    clearTimeout(timer);
    timer = 0;
    if (socket !== null) return;
    isReplaced = false;
    if (!isFresh) setState(words.connecting);
    const made = { readyState: WebSocket.CONNECTING };
    socket = made;
    if (!isFresh) {
      try {
        const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" }); // renews the cookie
        if (!answer.ok) throw new Error(String(answer.status));
      } catch {
        socket = null;
        retry();
        return;
      }
    }
    isFresh = false;
    socket = new WebSocket(address);
    socket.addEventListener("open", () => {
      heard = Date.now();
      pause = FIRST_PAUSE;
      setState("");
      markWaiting();
      sendNext();
    });
    socket.addEventListener("message", (event) => take(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => {
      socket = null;
      sent = "";
      clearTimeout(again);
      again = 0;
      markWaiting();
      if (event.code === REPLACED) {
        isReplaced = true;
        setState(words.replaced);
      } else {
        retry();
      }
    });
  }

  function retry() {
    setState(words.offline);
    timer = setTimeout(connect, pause * (0.5 + Math.random()) * 1000);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }

  function returnNow() {
    if (socket === null && document.visibilityState === "visible") {
      pause = FIRST_PAUSE;
      connect();
    }
  }

  // The other tabs of this visitor ----------------------------------------------------------------------------------

  function takeOfTab({ data }) {
    if (data.asks && entries.length) tabs.postMessage({ to: data.asks, entries });
    if (data.said) showSaid(data.said, data.label);
    if (data.frame?.type === "answer") showReplies(`answer ${data.frame.id}`, data.frame.replies);
    if (data.frame?.type === "push") showReplies(`push ${data.frame.key}`, data.frame.replies);
  }

  function earlier() {
    // Return what another tab has shown: nothing of the conversation is stored in the browser.
    return new Promise((found) => {
      if (tabs === null) {
        found([]);
        return;
      }
      const me = newId();
      const wait = setTimeout(() => found([]), TABS_SECONDS * 1000);
      tabs.addEventListener("message", ({ data }) => {
        if (data.to !== me) return;
        clearTimeout(wait);
        found(data.entries);
      });
      tabs.postMessage({ asks: me });
    });
  }

  // The beginning ---------------------------------------------------------------------------------------------------

  function submit() {
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    say({ text }, text);
  }

  async function begin() {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
      field.focus();
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        submit();
      }
    });
    window.addEventListener("online", returnNow);
    document.addEventListener("visibilitychange", returnNow);
    window.addEventListener("focus", returnNow);
    setInterval(() => {
      send({ type: "ping" });
      if (isOpen() && Date.now() - heard > SILENCE_SECONDS * 1000) socket.close();
    }, PING_SECONDS * 1000);

    let kept = [];
    try {
      kept = JSON.parse(sessionStorage.getItem(storeKey) || "[]");
    } catch {
      // as without storage
    }
    for (const entry of await earlier()) {
      if (entry.who === "you") showSaid(entry.id, entry.label);
      else showReplies(entry.name, entry.replies);
    }
    tabs?.addEventListener("message", takeOfTab);
    for (const each of kept) showSaid(each.frame.id, each.label);
    if (!entries.length) queue.push({ frame: { type: "open", id: newId() }, label: "" });
    queue.push(...kept);
    markWaiting();
    connect();
  }

  begin();
})();
