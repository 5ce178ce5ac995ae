import { expect, test } from 'vitest';
import { shownAddress } from '../../../src/server/web/shown-address.ts';

test.each([
  ['/jobs/default/12/SECRET', '/jobs/default/12/…'],
  ['/jobs/default/12/SECRET/more?x=SECRET', '/jobs/default/12/…'],
  ['/%6aobs/default/12/SECRET', '/jobs/default/12/…'],
  ['/jobs//12/SECRET', '/jobs//12/…'],
  ['//jobs/default//12/SECRET', '//jobs/default//12/…'],
  ['/jobs/a%2Fb/12/SECRET', '/jobs/a%2Fb/12/…'],
  ['/api/v1/links/default/12/SECRET', '/api/v1/links/default/12/…'],
  ['/api/v1/links/default/12/SECRET/files/out.txt', '/api/v1/links/default/12/…'],
  ['/jobs/default/12/SECRET%', '/jobs/default/12/…'],
  ['/api/v1/projects/default/jobs/12/record', '/api/v1/projects/default/jobs/12/record'],
  ['/api/v1/tasks?project=default', '/api/v1/tasks'],
])('%s is seen as %s', (url, shown) => expect(shownAddress(url)).toBe(shown));
