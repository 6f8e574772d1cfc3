"""The supervisor: shipped to a remote as one zipapp together with ``kernel/``; Python 3.8+, stdlib only.

::

    main        verbs of the zipapp, one round trip each
    supervisor  the one long-lived process: takes jobs from the spool, obeys the lease
    shim        one process per job: owns it, its log and its exit code; outlives the supervisor
    jobstore    a job's files; who may claim it, and whether it is alive
    processes   groups, descendants, signals
    machine     what the container says about itself: instance key, user's variables, boot
    market      the two calls an instance key may make: stop or destroy this instance
    stream      logs and statuses as frames
    listing     manifests of results
    fresh       result files that have come to rest, so that home brings them at once
    room        how much is left on the disk; a job waits while there is none
    second      an S3 bucket as a second home of results
    sending     a job's results on their way there
    files       atomic writes, bounded reads
"""
