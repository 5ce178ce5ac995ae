/** The exact solution of the infinite two-dimensional Ising model (L. Onsager 1944; magnetisation: C. N. Yang 1952). */

/** Where the order ends, in units of J/k. */
export const CRITICAL_TEMPERATURE = 2 / Math.log(1 + Math.SQRT2);

/** The spontaneous magnetisation per spin. */
export function exactMagnetisation(temperature: number): number {
  if (temperature >= CRITICAL_TEMPERATURE) return 0;
  return (1 - Math.sinh(2 / temperature) ** -4) ** (1 / 8);
}
