import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "max-lines": ["error", { max: 400 }],
      "no-restricted-globals": ["error", "event", "name", "status", "parent", "top"],
      "no-restricted-properties": [
        "error",
        { property: "innerHTML", message: "Text of the model must never become markup: use textContent." },
        { property: "outerHTML", message: "Text of the model must never become markup: use textContent." },
      ],
      "no-shadow": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": ["error", { destructuring: "all" }],
    },
  },
];
