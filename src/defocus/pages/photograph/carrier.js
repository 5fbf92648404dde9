// Where a page has its photographs from: the file itself, or the server on this computer.

// Both have photographs(), info(index), picture(index, name), and, where the package is at hand, send(index, what, value).
export function openCarrier() {
  const held = document.getElementById('held');
  return held ? new SavedPage(JSON.parse(held.textContent)) : new ServedPage();
}

class SavedPage {
  constructor(held) {
    this.served = false;
    this.held = held;
    this.view = held.view; // to begin with
  }

  async photographs() {
    const photographs = this.held.photographs.map(({info}, index) => ({index, name: info.name, state: 'done', ...info}));
    return {version: 1, folder: this.held.folder, photographs};
  }

  async info(index) {
    return this.held.photographs[index].info;
  }

  async picture(index, name) {
    const [kind, text] = this.held.photographs[index].pictures[name] ?? [];
    if (!kind) throw new Error(`This page holds no ${name}.`);
    return new Blob([Uint8Array.from(atob(text), character => character.charCodeAt(0))], {type: kind});
  }
}

const FILES = {photograph: 'photograph.jpg', sharpened: 'sharpened.jpg', map: 'map.webp', depth: 'depth.webp', preview: 'preview.jpg'};

class ServedPage {
  constructor() {
    this.served = true;
    this.view = 1;
    this.token = location.hash.slice(1) || sessionStorage.getItem('defocus-token') || '';
    if (location.hash) {
      sessionStorage.setItem('defocus-token', this.token); // so that the page can be loaded anew
      history.replaceState(null, '', location.pathname); // neither history nor bookmarks keep it
    }
  }

  async ask(path, options = {}) {
    let answer;
    try {
      answer = await fetch(`/api/${path}`, {...options, headers: {'X-Defocus-Token': this.token, ...options.headers}});
    } catch {
      throw new Error('defocus does not answer any more: start it again, and open the address it prints.');
    }
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error ?? `defocus answered ${answer.status}.`), {status: answer.status});
  }

  // The list of photographs; with the version that is known already it waits for something new.
  async photographs(known) {
    return (await this.ask(known === undefined ? 'photographs' : `photographs?known=${known}`)).json();
  }

  // The figures of a photograph, as soon as its map is there; undefined once it is not wanted any more.
  async info(index, wanted = () => true) {
    while (wanted()) {
      const answer = await this.ask(`photographs/${index}`);
      if (answer.status === 200) return answer.json();
      await new Promise(done => setTimeout(done, 400));
    }
    return undefined;
  }

  async picture(index, name) {
    return (await this.ask(`photographs/${index}/${FILES[name]}`)).blob();
  }

  async crop(index, [left, top, right, bottom], side) {
    const box = `left=${left}&top=${top}&right=${right}&bottom=${bottom}&side=${side}`;
    return (await this.ask(`photographs/${index}/crop.jpg?${box}`)).blob();
  }

  async send(index, what, value) {
    const options = {method: 'POST', body: JSON.stringify(value), headers: {'Content-Type': 'application/json'}};
    return (await this.ask(`photographs/${index}/${what}`, options)).json();
  }
}
