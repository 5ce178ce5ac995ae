/** What came of a try to deliver something. */
export type Delivery =
  | { readonly outcome: 'sent' }
  | {
      /** `refused` is for good, `failed` may be otherwise later. */
      readonly outcome: 'refused' | 'failed';
      readonly error: string;
      /** Nobody answered, or not for anybody: it has nothing to do with this letter. */
      readonly isWayBlocked: boolean;
    };
