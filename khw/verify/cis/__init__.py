"""
khw.verify.cis: the CIS Kubernetes Benchmark's recommendations, as a profile of `khw verify`.

    control        what a recommendation is, and what a look at it comes to
    seen           what a node is asked, in one exchange, and what it said
    looks          the looks that many share: a flag, a mode, an owner, a field
    etcd           section 2
    control_plane  sections 1 and 3
    worker         section 4
    objects        what the API is asked for section 5
    rights         who may what, by the RBAC objects
    policies       section 5
    profile        all of them as checks, and which of them are meant by a number

Numbers are those of the benchmark (version in `profile.VERSION`); the words are khw's own. The benchmark's text is
the Center for Internet Security's, and is not in here.
"""
