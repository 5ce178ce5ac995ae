/** The parts of a submit request that the pool decides by; the protocol's schema has checked the rest. */
export interface SubmitRequestFacts {
  readonly project?: string | undefined;
  readonly requestId?: string | undefined;
  readonly open?: boolean | undefined;
  readonly strict?: boolean | undefined;
  readonly steps: readonly StepFacts[];
}

export interface StepFacts {
  readonly name?: string | undefined;
  readonly spec: SpecFacts;
  readonly array?: { readonly first: number; readonly last: number; readonly step?: number | undefined } | undefined;
  readonly items?: readonly ItemFacts[] | undefined;
  readonly reuse?: boolean | undefined;
  readonly priority?: number | undefined;
  readonly notBefore?: string | undefined;
  readonly after?:
    | readonly ({ readonly submission: number; readonly index?: number | undefined } | { readonly step: string })[]
    | undefined;
}

export interface ItemFacts {
  readonly payload?: unknown;
  readonly inputs?: readonly InputFacts[] | undefined;
}

export interface InputFacts {
  readonly name: string;
  readonly digest: string;
  readonly kind: 'file' | 'tree';
  readonly executable?: boolean | undefined;
  readonly permissions?: string | undefined;
}

/** Outputs of other tasks as inputs; see the protocol. */
export interface FromFacts {
  readonly submission?: number | undefined;
  readonly step?: string | undefined;
  readonly index?: string | undefined;
  readonly output?: string | undefined;
  readonly name?: string | undefined;
}

export interface SpecFacts {
  readonly command?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly inputs?: readonly InputFacts[] | undefined;
  readonly from?: readonly FromFacts[] | undefined;
  readonly checkpoint?: { readonly patterns: readonly string[] } | undefined;
  readonly outputs?: readonly { readonly pattern: string; readonly optional?: boolean | undefined }[] | undefined;
  readonly resources?:
    | {
        readonly cpus?: number | undefined;
        readonly memory?: number | undefined;
        readonly gpus?: number | undefined;
        readonly named?: Readonly<Record<string, number>> | undefined;
        readonly labels?: Readonly<Record<string, string>> | undefined;
      }
    | undefined;
  readonly site?:
    | { readonly name: string; readonly inputs?: readonly string[] | undefined; readonly pilot?: object | undefined }
    | undefined;
  readonly timeLimitSeconds?: number | undefined;
  readonly timeRequestSeconds?: number | undefined;
}
