package cdf

import "maps"

// Members lets tests compare them with the standard.
func Members() map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for class, members := range memberTable() {
		out[class] = maps.Clone(members)
	}
	return out
}
