// Package tofu is the deployment's OpenTofu modules, and what must be true of
// them: policies over the parsed text, each of which a test sees fail on a
// planted violation.
//
// Invariant: what a policy cannot read it reports. A name that it does not know, a
// list that it cannot resolve, is a finding and not a pass.
package tofu

import (
	"embed"

	"tallystream/infra/check"
)

// Files are the modules and the example.
//
//go:embed modules environments
var Files embed.FS

// Example is the root that calls every module; from it the whole tree is found.
const Example = "environments/example"

// The modules.
const (
	Region  = "modules/region"
	Global  = "modules/global"
	Archive = "modules/archive" // which both of these call
)

// Deployment is the parsed tree and the provider's schema.
type Deployment struct {
	Modules map[string]*check.Module
	Schema  *check.Schema
}
