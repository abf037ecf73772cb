// Package timeseries replays a real night, change by change, as it was reported:
// with its counts that fell, a city that was sent twice and a county that dropped
// to nothing.
//
// Invariant: every change of the series becomes part of one statement of its
// unit, in the order of time, and nothing else is sent until supervisors act. What
// they do follows from what is published.
package timeseries
