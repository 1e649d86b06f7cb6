// Recognises private keys before any request is made, by the same marks as apps/pki/private_keys.py and shapes.py, and
// refuses them in every text field of every form: the field is cleared, the others keep what was typed.
// window.privateKeys.inText(text) and .inBytes(Uint8Array) answer true or false; .refuse(field) is what a paste leads to.
(() => {
  "use strict";
  const MAX_ELEMENTS = 10;
  const LABELS = [/PRIVATE[^]{0,9}?KEY/, /[-\u2010-\u2015\u2212\ufe58\ufe63\uff0d]\s?BEGIN[^]{0,40}?PRIVATE[^]{0,9}?KEY/i];
  const OTHER = /PuTTY-User-Key-File|Private-Lines:|Private-MAC:|AGE-SECRET-KEY-|privateExponent:|^priv:|<InverseQ>/im;
  const JWK = [/\\?["']kty\\?["']\s*:/, /\\?["'][dk]\\?["']\s*:/];
  // "PRIVATE KEY" inside base64, at each of three alignments, and how the body of every OpenSSH key begins.
  const ENCODED = /UFJJVkFURSBLRV|BSSVZBVEUgS0VZ|QUklWQVRFIEtFW|b3BlbnNzaC1rZXktdjE/;
  const BLOCK = /-----BEGIN [^-]{1,64}-----([^]*?)-----END /g;
  const WHOLE_BLOCK = /-----BEGIN [^-]{1,64}-----[^]*?-----END [^-]{1,64}-----/g;
  const END = /-----END [^-]{0,64}-----\s*/;
  // OpenSSH ("openssh-key-v1"), Java keystores, PVK files.
  const OTHER_FILES = [
    [..."openssh-key-v1"].map((char) => char.charCodeAt(0)),
    [0xfe, 0xed, 0xfe, 0xed], [0xce, 0xce, 0xce, 0xce], [0x1e, 0xf1, 0xb5, 0xb0],
  ];

  // Where an element's value begins and ends. Indefinite and cut-off lengths end with the bytes.
  const element = (bytes, start) => {
    const first = bytes[start + 1];
    if (!(first > 0x80)) return { body: start + 2, end: first === 0x80 ? bytes.length : start + 2 + first };
    const size = first & 0x7f;
    let length = 0;
    for (let at = 0; at < size; at += 1) length = length * 256 + (bytes[start + 2 + at] || 0);
    return { body: start + 2 + size, end: start + 2 + size + length };
  };
  // A key opens with a small version number where a certificate has its signed part. The second outline is that of
  // an encrypted PKCS#8 key: an algorithm and an octet string, nothing else.
  const isKeyAt = (bytes, start) => {
    if (bytes[start] !== 0x30) return false;
    const { body, end } = element(bytes, start);
    if (bytes[body] === 0x02 && bytes[body + 1] === 1 && bytes[body + 2] <= 3) return true;
    if (bytes[body] !== 0x30) return false;
    const second = element(bytes, body).end;
    return bytes[second] === 0x04 && element(bytes, second).end === end;
  };
  const startsAt = (bytes, start, wanted) => wanted.every((byte, at) => bytes[start + at] === byte);
  const isKeyDer = (bytes) => {
    let start = 0;
    for (let count = 0; count < MAX_ELEMENTS && start < bytes.length; count += 1) {
      if (OTHER_FILES.some((magic) => startsAt(bytes, start, magic)) || isKeyAt(bytes, start)) return true;
      if (bytes[start] !== 0x30) return false;
      start = element(bytes, start).end;
    }
    return false;
  };
  const decoded = (body) => {
    const packed = body.replace(/\s/g, "");
    if (packed.length < 8 || !/^[A-Za-z0-9+/]+=*$/.test(packed)) return new Uint8Array();
    try {
      return Uint8Array.from(window.atob(packed.slice(0, packed.length - (packed.length % 4))), (char) => char.charCodeAt(0));
    } catch (_error) {
      return new Uint8Array();
    }
  };
  const inText = (text) => {
    const flat = text.replace(/\0/g, "");
    if (LABELS.some((label) => label.test(flat)) || OTHER.test(flat) || ENCODED.test(flat)) return true;
    if (JWK.every((mark) => mark.test(flat))) return true;
    const bodies = [...flat.matchAll(BLOCK)].map((block) => block[1]);
    return [...bodies, flat, flat.replace(WHOLE_BLOCK, "")].some((body) => isKeyDer(decoded(body)));
  };
  const inBytes = (bytes) => {
    let text = "";
    bytes.forEach((byte) => { text += String.fromCharCode(byte); });
    // A binary key may follow the END line of a certificate.
    const parts = text.split(END).map((part) => Uint8Array.from(part, (char) => char.charCodeAt(0)));
    return parts.some(isKeyDer) || inText(text);
  };

  const WORDS = "That holds a private key. It was not sent. Treat it as exposed only if you pasted it elsewhere too.";
  const FREE_TEXT = "textarea, input[type=text], input[type=search], input[type=password]";

  // Beside the field, or where the form has a place of its own for it.
  const noteOf = (field, make = true) => {
    const placed = field.form?.querySelector("[data-key-note]");
    if (placed || !make) return placed;
    const made = document.createElement("p");
    made.className = "errmsg";
    made.dataset.keyNote = "";
    made.setAttribute("role", "alert");
    made.append(document.createElement("span"));
    field.before(made);
    return made;
  };
  const refuse = (field) => {
    field.value = "";
    const note = noteOf(field);
    note.querySelector("span").textContent = WORDS;
    note.classList.remove("hidden");
    note.refused = field;
    note.scrollIntoView({ block: "nearest" });
    field.dispatchEvent(new CustomEvent("private-key", { bubbles: true }));
  };
  // On the window, while the event goes down: htmx and the browser never see an event about a key.
  window.addEventListener("input", (event) => {
    if (!event.target.matches?.(FREE_TEXT)) return;
    if (inText(event.target.value)) { event.stopImmediatePropagation(); refuse(event.target); }
    else if (event.target.value && noteOf(event.target, false)?.refused === event.target) noteOf(event.target).classList.add("hidden");
  }, true);
  window.addEventListener("submit", (event) => {
    const bad = [...event.target.elements].filter((field) => field.matches(FREE_TEXT) && inText(field.value));
    if (bad.length) { event.preventDefault(); event.stopImmediatePropagation(); bad.forEach(refuse); }
  }, true);

  window.privateKeys = { inText, inBytes, refuse };
})();
