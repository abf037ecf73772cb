package edge

import (
	"embed"
	"fmt"
)

//go:embed source/*.js
var sources embed.FS

// MaxFunction is the most bytes that CloudFront takes as a function
// (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html).
const MaxFunction = 10 * 1024

// Host is what a name before the public is for.
type Host string

// The two hosts. Each has a function of its own, so that there is no decoy in
// what stands before submissions.
const (
	Results Host = "results"
	Ingest  Host = "ingest"
)

// Function is the source of a host's CloudFront Function, runtime
// cloudfront-js-2.0: what both share, then what is the host's own. STORE_ID in
// it becomes the identifier of the key-value store where it is deployed
// (infra/tofu/modules/global/rules.tf). A function has no modules, so the files
// that are deployed, results.js and ingest.js, are put together beforehand:
//
//	go test ./infra/edge -run Deployed -update
func Function(host Host) ([]byte, error) {
	shared, err := sources.ReadFile("source/rules.js")
	if err != nil {
		return nil, fmt.Errorf("reading the shared rules: %w", err)
	}
	own, err := sources.ReadFile("source/" + string(host) + ".js")
	if err != nil {
		return nil, fmt.Errorf("reading the rules of host %q: %w", host, err)
	}
	note := "// Made of source/rules.js and source/" + string(host) + ".js: change those, then go test ./infra/edge -run Deployed -update\n"
	return append(append([]byte(note), shared...), own...), nil
}
