// Prisma's own engine is a program that it downloads from binaries.prisma.sh when it is first
// run. What lies in its package besides, the same engine as WebAssembly, talks to PostgreSQL
// through an adapter, and needs nothing but npm's registry. What that adapter (6.19) lacks is here.

import { PrismaPg } from '@prisma/adapter-pg';

const NAME = 19;
const TEXT = 25;
const LOCK_TIMEOUT_MS = 10_000;

class Postgres extends PrismaPg {
  async connect() {
    const database = await super.connect();
    // It does not know the type of the catalogue's names (prisma#27403).
    const perform = database.performIO.bind(database);
    database.performIO = async (query) => {
      const result = await perform(query);
      for (const field of result.fields) {
        if (field.dataTypeID === NAME) field.dataTypeID = TEXT;
      }
      return result;
    };
    // It takes a migration apart at each semicolon. The engine sends it whole, so that it is
    // done as a whole or not at all.
    database.executeScript = async (script) => {
      const client = database.underlyingDriver();
      await client.query(script).catch((error) => database.onError(error));
    };
    return database;
  }
}

// Nobody takes this timer back when the lock is there: the process would wait for it.
const { setTimeout } = globalThis;
globalThis.setTimeout = (does, ms, ...given) => {
  const timer = setTimeout(does, ms, ...given);
  if (ms === LOCK_TIMEOUT_MS) timer.unref();
  return timer;
};

export const postgres = async () =>
  new Postgres({ connectionString: process.env.DATABASE_URL, allowExitOnIdle: true });
