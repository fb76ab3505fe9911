// Runs firebase-admin-node, which has both APIs, against the emulator: $BULKSUB is the program. Its
// calls go to Google's addresses; the agent that they are given connects to the emulator instead.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import https from 'node:https';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { initializeApp } from 'firebase-admin/app';
import { getMessaging } from 'firebase-admin/messaging';

let emulator, url;

before(async () => {
  emulator = spawn(process.env.BULKSUB, ['emulator', '--listen', '127.0.0.1:0', '--any-bearer', '--dead', '5%', '--invalid', '2%'],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  for await (const chunk of emulator.stdout) {
    said += chunk;
    if (said.includes('\n')) break;
  }
  url = new URL(said.match(/http:\S+?(?=;)/)[0]);
});

after(() => emulator.kill('SIGINT'));

class Detour extends https.Agent {
  createConnection() { return net.connect(url.port, url.hostname); }
}

const tokens = Array.from({ length: 1000 }, (_, n) => `c${String(n).padStart(21, '0')}:APA91b${'x'.repeat(134)}`);

async function count(topic) {
  const res = await fetch(`${url}emulator/v1/topics/${topic}?tokens=false`);
  return (await res.json()).count;
}

test('topics of both APIs', async () => {
  const app = initializeApp({
    projectId: 'bulksub-stand-in',
    httpAgent: new Detour(),
    credential: { getAccessToken: async () => ({ access_token: 'any', expires_in: 3600 }) },
  });
  const messaging = getMessaging(app);
  messaging.enableLegacyHttpTransport(); // HTTP/1.1: only that way it takes an agent
  let refused;
  for (const [call, subscribes] of [
    ['subscribeToTopicLegacy', true], ['subscribeToTopic', true], ['unsubscribeFromTopic', false],
    ['unsubscribeFromTopic', false], ['unsubscribeFromTopicLegacy', false], ['subscribeToTopic', true], ['unsubscribeFromTopicLegacy', false],
  ]) {
    const res = await messaging[call](tokens, 'news');
    const indexes = res.errors.map((e) => e.index).sort((a, b) => a - b);
    refused ??= indexes;
    assert.ok(refused.length > 20 && refused.length < 150, `${refused.length} of 1000 are refused`);
    assert.deepEqual(indexes, refused, call);
    assert.equal(res.successCount, tokens.length - refused.length, call);
    assert.equal(await count('news'), subscribes ? res.successCount : 0, call);
  }
});
