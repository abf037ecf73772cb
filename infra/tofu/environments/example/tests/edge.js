// Stands in for infra/edge's functions.
function handler(event) { return event.request; }
