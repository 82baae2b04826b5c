"""
khw.drills: real failures on a lab cluster, to practise on.

    drill      what a drill is
    table      every drill, on one screen
    ground     what a drill works on: nodes over SSH, the project through its API
    state      which drill runs, in the workspace
    practice   list, start, hint, check, stop
    way_back   what puts a cluster right whatever was done to it
    page       docs/drills.md

The drills themselves are in etcd, identity, control_plane, worker and project, by what they break.
"""
