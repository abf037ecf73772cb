// Made of source/rules.js and source/ingest.js: change those, then go test ./infra/edge -run Deployed -update
import cf from 'cloudfront';

const store = cf.kvs('STORE_ID');

// What does not stand in the store is not in force. A store that fails bans and
// closes nothing: the filter stands before this, and results are public.
async function read(key) {
    try {
        const value = await store.get(key);
        return value;
    } catch (absent) {
        return '';
    }
}

function header(request, name) {
    return request.headers[name] ? request.headers[name].value : '';
}

// closes reads "RU KP" (these are closed) or "! US CA" (all but these are).
function closes(countries, country) {
    if (!countries) {
        return false;
    }
    const words = countries.split(' ');
    const listed = country !== '' && words.indexOf(country) >= 0;
    return words[0] === '!' ? !listed : listed;
}

// blocks names an address and the blocks around it, as the store's keys do:
// 192.0.2.7, 192.0.2.0/24, 192.0.0.0/16; 2001:db8:0:0:0:0:0:1,
// 2001:db8:0:0::/64, 2001:db8:0::/48.
function blocks(ip) {
    if (ip.length > 45) {
        return [];
    }
    if (ip.indexOf(':') < 0) {
        const b = ip.split('.');
        return [ip, b[0] + '.' + b[1] + '.' + b[2] + '.0/24', b[0] + '.' + b[1] + '.0.0/16'];
    }
    const halves = ip.split('::');
    let groups = halves[0] ? halves[0].split(':') : [];
    if (halves.length > 1) {
        const tail = halves[1] ? halves[1].split(':') : [];
        while (groups.length + tail.length < 8) {
            groups.push('0');
        }
        groups = groups.concat(tail);
    }
    for (let i = 0; i < groups.length; i++) {
        groups[i] = parseInt(groups[i], 16).toString(16);
    }
    return [groups.join(':'), groups.slice(0, 4).join(':') + '::/64', groups.slice(0, 3).join(':') + '::/48'];
}

function among(list, own) {
    const words = list.split(' ');
    return own.some(function (block) { return words.indexOf(block) >= 0; });
}

// mentions looks for each part of a "one|two" list in a user agent.
function mentions(list, agent) {
    return list.split('|').some(function (part) { return part !== '' && agent.indexOf(part) >= 0; });
}

// verdict is what the store says of a request: closed, refused, decoy or nothing.
// Refusing wins over the decoy, whatever the order of the rules.
async function verdict(request, ip, geo) {
    const countries = await read(geo);
    if (closes(countries, header(request, 'cloudfront-viewer-country'))) {
        return 'closed';
    }
    let said = '';
    const own = blocks(ip);
    const hops = await read('hops');
    if (!among(hops, own)) {
        for (let i = 0; i < own.length; i++) {
            const ban = await read('ban/' + own[i]);
            if (ban !== '' && ban !== 'decoy') {
                return 'refused';
            }
            said = ban || said;
        }
    }
    const agent = header(request, 'user-agent').slice(0, 512).toLowerCase();
    const agents = await read('agents');
    if (mentions(agents, agent)) {
        return 'refused';
    }
    const decoys = await read('decoys');
    return mentions(decoys, agent) ? 'decoy' : said;
}

function isReading(request) {
    return request.method === 'GET' || request.method === 'HEAD';
}

function answer(request, status, reason, type, body) {
    const response = {
        statusCode: status,
        statusDescription: reason,
        headers: { 'content-type': { value: type }, 'cache-control': { value: 'no-store' } }
    };
    if (request.method !== 'HEAD') {
        response.body = body;
    }
    return response;
}

function refuse(request, status, reason) {
    return answer(request, status, reason, refusalType, refusalBody(status, reason));
}

// Five minutes: what is closed at night is opened by a person.
function close(request) {
    const response = refuse(request, 503, 'Service Unavailable');
    response.headers['retry-after'] = { value: '300' };
    return response;
}

function refuseMethod(request, allowed) {
    const response = refuse(request, 405, 'Method Not Allowed');
    response.headers.allow = { value: allowed };
    return response;
}

// route makes one spelling of a path: no doubled slashes. What needs more
// than that is no key; '' then.
function route(uri, paths) {
    if (uri.length > 512) {
        return '';
    }
    const path = uri.replace(/\/+/g, '/');
    return paths.some(function (form) { return form.test(path); }) ? path : '';
}

// The submission host. Nothing is made up here: what this returns is the request
// itself or a refusal, so that a receipt is ingest's or none.
const paths = [
    /^\/v1\/(submissions|releases|key)$/,
    /^\/v1\/submissions\/[a-z0-9][a-z0-9._-]{0,95}$/
];

const refusalType = 'application/problem+json';

function refusalBody(status, reason) {
    return '{"type":"about:blank","title":"' + reason + '","status":' + status + '}\n';
}

async function handler(event) {
    const request = event.request;
    const said = await verdict(request, event.viewer.ip, 'geo.ingest');
    if (said === 'closed') {
        return close(request);
    }
    if (said !== '') {
        return refuse(request, 403, 'Forbidden');
    }
    const path = route(request.uri, paths);
    if (path === '') {
        return refuse(request, 404, 'Not Found');
    }
    const taken = path === '/v1/submissions' || path === '/v1/releases';
    if (taken ? request.method !== 'POST' : !isReading(request)) {
        return refuseMethod(request, taken ? 'POST' : 'GET, HEAD');
    }
    request.uri = path;
    request.querystring = {};
    request.cookies = {};
    return request;
}
