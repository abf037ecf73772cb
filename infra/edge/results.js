// Made of source/rules.js and source/results.js: change those, then go test ./infra/edge -run Deployed -update
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

// The results host: published objects, by their keys alone.
const paths = [
    /^\/(latest|checkpoint|pause|(index|contests|corrections|holds)\.html|config\.json|roster\.json|definition\.json)$/,
    /^\/(county|contest|state)\/[a-z0-9][a-z0-9._-]{0,95}\.html$/,
    /^\/(documents|units|manifests|corrections|holds|remainders)\/([0-9a-f]{2})\/\2[0-9a-f]{62}\.ndjson$/,
    /^\/rosters\/([0-9a-f]{2})\/\1[0-9a-f]{62}\.json$/,
    /^\/assets\/([0-9a-f]{2})\/\1[0-9a-f]{62}\.(css|js)$/,
    /^\/snapshots\/[0-9]{9,19}$/,
    /^\/csv\/[0-9]{9,19}-[0-9]{1,19}\/[a-z0-9][a-z0-9._-]{0,95}\.csv$/,
    /^\/cdf\/[0-9]{9,19}-[0-9]{1,19}(\/[a-z0-9][a-z0-9._-]{0,95})?\.json\.gz$/,
    /^\/tile\/([0-9]|[1-5][0-9]|6[0-3]|entries)\/(x[0-9]{3}\/){0,6}[0-9]{3}(\.p\/([1-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$/,
    /^\/schemas\/[a-z0-9-]{1,64}\.schema\.json$/
];

const refusalType = 'text/plain; charset=utf-8';

function refusalBody(status, reason) {
    return reason + '\n';
}

// The decoy says nothing of any result: whoever shares an attacker's address sees
// a page that loads, never a wrong number.
const decoyBody = '<!doctype html><html lang="en"><title>Results</title><p>Loading\u2026</p></html>\n';

// mayDecoy holds whatever the store says, and even if this function were put before
// the submission host by mistake: nothing that a submission client asks is met by it.
function mayDecoy(request) {
    return isReading(request) && !/^\/{0,8}v1/i.test(request.uri);
}

async function handler(event) {
    const request = event.request;
    const said = await verdict(request, event.viewer.ip, 'geo');
    if (said === 'closed') {
        return close(request);
    }
    if (said === 'decoy' && mayDecoy(request)) {
        return answer(request, 200, 'OK', 'text/html; charset=utf-8', decoyBody);
    }
    if (said !== '') {
        return refuse(request, 403, 'Forbidden');
    }
    if (!isReading(request)) {
        return refuseMethod(request, 'GET, HEAD');
    }
    const path = route(/^\/{1,8}$/.test(request.uri) ? '/index.html' : request.uri, paths);
    if (path === '') {
        return refuse(request, 404, 'Not Found');
    }
    request.uri = path;
    request.querystring = {};
    request.cookies = {};
    return request;
}
