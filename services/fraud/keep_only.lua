-- The listing's photos from a revision on: others of this or an older revision are dropped.
local listing, revision = ARGV[2], tonumber(ARGV[3])
local known = redis.call('HMGET', prefix .. 'listing:' .. listing, 'removed', 'revision')
if known[1] or (known[2] and tonumber(known[2]) > revision) then return 0 end
redis.call('HSET', prefix .. 'listing:' .. listing, 'revision', ARGV[3])
-- Of two changes of one revision the join decides which wins: the photos of both are kept, so that none goes unseen.
if known[2] ~= ARGV[3] then redis.call('DEL', prefix .. 'current:' .. listing) end
for i = 4, #ARGV do redis.call('SADD', prefix .. 'current:' .. listing, ARGV[i]) end
for _, sha in ipairs(redis.call('SMEMBERS', prefix .. 'photos:' .. listing)) do
    local name = sha .. '/' .. listing
    local its = redis.call('HGET', prefix .. 'photo:' .. name, 'revision')
    if redis.call('SISMEMBER', prefix .. 'current:' .. listing, sha) == 0
        and not (its and tonumber(its) > revision) then
        drop(name)
        redis.call('SREM', prefix .. 'photos:' .. listing, sha)
    end
end
return 1
