/** The module's bytes; written by the build. */
export const base64: string;
