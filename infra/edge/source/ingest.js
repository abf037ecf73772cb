
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
