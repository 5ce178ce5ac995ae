/** Characters of a password of a user of Pilotage at the least: long enough that guessing is hopeless. */
export const LEAST_PASSWORD = 8;
