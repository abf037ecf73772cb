
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
