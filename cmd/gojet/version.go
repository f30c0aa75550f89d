package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/gojet/gojet/kernels/vec"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the source it was built from and the processor features in use",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := versionOf(debug.ReadBuildInfo())
			_, err := fmt.Fprintf(c.OutOrStdout(), "gojet     %s\nrevision  %s\ngo        %s %s/%s\ncpu       %s, %d threads\n",
				v.module, v.revision, runtime.Version(), runtime.GOOS, runtime.GOARCH, vec.Implementation(), runtime.GOMAXPROCS(0))
			return err
		},
	}
}

type version struct{ module, revision string }

// versionOf reads what the Go tool left in the binary; parts that it did not know are "unknown".
func versionOf(info *debug.BuildInfo, ok bool) version {
	v := version{module: "unknown", revision: "unknown"}
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.module = info.Main.Version
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " (modified)"
		}
	}
	v.revision += dirty
	return v
}
