import { ReactorProvider } from "@reactor-team/js-sdk";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { App } from "./App";
import { RUNTIME_URL } from "./runtime";
import "./style.css";
import "./app.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    {/* `local` means one runtime, spoken to directly; it has one model, so the name does not matter. */}
    <ReactorProvider apiUrl={RUNTIME_URL} modelName="local" local>
      <App />
    </ReactorProvider>
  </StrictMode>,
);
