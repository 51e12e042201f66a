/** The style of a module that is loaded when it is needed: put on once, and there when the promise says so. */

/**
 * @param {string} name a file of the page, written out where it is called: the server renames it by its content
 * @returns {Promise<void>}
 */
export function wear(name) {
  if (document.querySelector(`link[href="${name}"]`)) return Promise.resolve();
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = name;
  return new Promise((resolve, reject) => {
    link.addEventListener("load", () => resolve());
    link.addEventListener("error", () => {
      link.remove();
      reject(new Error(`${name} did not load`));
    });
    document.head.append(link);
  });
}
