/** The demo's icons: 20 by 20, one stroke width. */

import { icon } from "../dom.ts";

export const menuIcon = (): SVGSVGElement => icon("M4 6h12M4 10h12M4 14h12");
export const linkIcon = (): SVGSVGElement =>
  icon("M8.5 11.5a3 3 0 0 0 4.2 0l3-3a3 3 0 0 0-4.2-4.2l-1 1", "M11.5 8.5a3 3 0 0 0-4.2 0l-3 3a3 3 0 0 0 4.2 4.2l1-1");
export const plusIcon = (): SVGSVGElement => icon("M10 4v12M4 10h12");
export const copyIcon = (): SVGSVGElement =>
  icon("M7 7h8.5a.5.5 0 0 1 .5.5V16a.5.5 0 0 1-.5.5H7a.5.5 0 0 1-.5-.5V7.5A.5.5 0 0 1 7 7z", "M4 13V4a.5.5 0 0 1 .5-.5H13");
export const downloadIcon = (): SVGSVGElement => icon("M10 3.5v9M6.5 9.5l3.5 3.5 3.5-3.5M4 16.5h12");
export const closeIcon = (): SVGSVGElement => icon("M5.5 5.5l9 9M14.5 5.5l-9 9");
export const warnIcon = (): SVGSVGElement => icon("M10 3.2l7.4 13H2.6z", "M10 8.2v3.6M10 14v.01");
export const brandMark = (): SVGSVGElement => {
  const mark = icon("M10.5 3.5h6M10.5 7.8h6M10.5 12.2h6M10.5 16.5h6", "M5.5 2.5v15");
  mark.classList.add("brand-mark");
  return mark;
};
