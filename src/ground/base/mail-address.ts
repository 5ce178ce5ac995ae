/**
 * One plain address: with nothing of which a header, or a list of addresses, could be made. Narrower than what RFC 5322
 * allows, as quoted names and comments are.
 */
export const MAIL_ADDRESS =
  '^[^\\s\\u0000-\\u001f\\u007f@<>(),;:"\\[\\]\\\\]+@[^\\s\\u0000-\\u001f\\u007f@<>(),;:"\\[\\]\\\\]+$';
const PATTERN = new RegExp(MAIL_ADDRESS);

export function isMailAddress(text: string): boolean {
  return text.length <= 256 && PATTERN.test(text);
}
