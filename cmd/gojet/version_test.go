package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func versionCalls() []call {
	return []call{
		{name: "version", args: []string{"version"}, parts: []string{
			"gojet     ", "revision  ", "go        " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH, "cpu       ",
		}},
		{name: "argument", args: []string{"version", "now"}, code: 1, err: `unknown command "now" for "gojet version"`},
	}
}

func TestVersionOf(t *testing.T) {
	setting := func(k, v string) debug.BuildSetting { return debug.BuildSetting{Key: k, Value: v} }
	for _, tc := range []struct {
		info *debug.BuildInfo
		ok   bool
		want version
	}{
		{nil, false, version{"unknown", "unknown"}},
		{&debug.BuildInfo{}, true, version{"unknown", "unknown"}},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{setting("vcs.revision", "abc"), setting("vcs.modified", "false")}},
			true, version{"v1.2.3", "abc"}},
		{&debug.BuildInfo{Settings: []debug.BuildSetting{setting("vcs.modified", "true"), setting("vcs.revision", "abc")}},
			true, version{"unknown", "abc (modified)"}},
	} {
		if got := versionOf(tc.info, tc.ok); got != tc.want {
			t.Errorf("versionOf(%v) = %v, want %v", tc.info, got, tc.want)
		}
	}
}
