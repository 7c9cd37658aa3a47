// fastify with onnxruntime-node: `server.js MODELS_FOLDER PORT` answers POST /v2/models/NAME/infer for each .onnx file there.
//
// A cluster of two workers, one thread a run. The answer goes through fastify's serializer, made from its JSON schema. What
// was measured to be faster and is no worse is done: bodies are collected as a buffer and go to JSON.parse without a search
// for __proto__ (only named fields are read), no schema walks their numbers (the runtime checks the count), and the space of
// young objects is 64 MiB (--max-semi-space-size=64), which halves the collector's work with large bodies.
'use strict';

const cluster = require('node:cluster');
const fs = require('node:fs');
const path = require('node:path');

const [folder, port] = process.argv.slice(2);

const TYPES = {
  FP32: ['float32', Float32Array],
  FP64: ['float64', Float64Array],
  INT32: ['int32', Int32Array],
};
const NAMES = Object.fromEntries(Object.entries(TYPES).map(([name, [type]]) => [type, name]));

const tensor = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    datatype: { type: 'string' },
    shape: { type: 'array', items: { type: 'integer' } },
    data: { type: 'array', items: { type: 'number' } },
  },
};
const answer = {
  type: 'object',
  properties: {
    model_name: { type: 'string' },
    model_version: { type: 'string' },
    outputs: { type: 'array', items: tensor },
  },
};

async function serve() {
  const ort = require('onnxruntime-node');
  const app = require('fastify')({ logger: false, bodyLimit: 64 * 1024 * 1024 });
  const options = { intraOpNumThreads: 1, interOpNumThreads: 1, executionProviders: ['cpu'] };
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      done(null, JSON.parse(body.toString()));
    } catch (e) {
      e.statusCode = 400;
      done(e);
    }
  });
  const sessions = {};
  for (const file of fs.readdirSync(folder).filter((f) => f.endsWith('.onnx'))) {
    sessions[path.basename(file, '.onnx')] = await ort.InferenceSession.create(path.join(folder, file), options);
  }

  app.post('/v2/models/:name/infer', { schema: { response: { 200: answer } } }, async (request, reply) => {
    const { name } = request.params;
    const session = sessions[name];
    if (!session) return reply.code(404).send({ error: `no model ${name}` });
    const feeds = {};
    try {
      for (const input of request.body.inputs) {
        const [type, Numbers] = TYPES[input.datatype];
        feeds[input.name] = new ort.Tensor(type, Numbers.from(input.data), input.shape);
      }
    } catch (e) {
      return reply.code(400).send({ error: e.message });
    }
    const results = await session.run(feeds);
    const outputs = session.outputNames.map((output) => {
      const { type, dims, data } = results[output];
      return { name: output, datatype: NAMES[type], shape: dims, data: Array.from(data) };
    });
    return { model_name: name, model_version: '1', outputs };
  });
  await app.listen({ host: '127.0.0.1', port: Number(port) });
}

if (cluster.isPrimary) {
  // A worker that ends ends the server: a benchmark must not go on with fewer.
  cluster.on('exit', () => process.exit(1));
  process.on('SIGTERM', () => process.exit(0));
  cluster.fork();
  cluster.fork();
} else {
  serve().catch((e) => {
    console.error(e);
    process.exit(1);
  });
}
