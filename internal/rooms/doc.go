// Package rooms holds the test of who may import whom: the rooms of the house are the top-level folders, and
// calls go downwards only.
package rooms
