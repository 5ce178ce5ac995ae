import { START } from '../base/address.ts';
import { Layout } from '../parts/layout.tsx';

export function NowherePage() {
  return (
    <Layout title="There is no such page">
      <p>
        Look at the address again, or begin at <a href={START}>the start</a>.
      </p>
    </Layout>
  );
}
