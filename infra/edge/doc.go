// Package edge has the rules that stand before the public: a CloudFront
// Function for each host, the same for Varnish, and the store of rules that an
// operator changes during a night without a deploy.
//
// Invariant: the edge answers with what the origin said, or refuses. The one
// answer that it makes up, the decoy, says nothing of any result, and is never
// given on the submission host: a false receipt would destroy trust.
package edge
