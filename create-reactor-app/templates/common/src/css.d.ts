import "react";

declare module "react" {
  interface CSSProperties {
    /** Width over height of the picture. */
    "--ratio"?: number;
  }
}
